#include "runtime/tensor/grid_fit.h"

#include <Eigen/Core>
#include <algorithm>
#include <cmath>

namespace bitbudget {
namespace {

constexpr int kLanes = 8;
using Lanes = Eigen::Array<float, kLanes, 1>;

float SumLanes(const Lanes& lanes) {  // fixed order: the same on every instruction set
  float sum = 0.0f;
  for (int i = 0; i < kLanes; ++i) sum += lanes[i];
  return sum;
}

// Rounds |x| <= 2^22 to nearest even by pushing the fraction out of the mantissa.
Lanes RoundEven(const Lanes& x) {
  const Lanes shift = Lanes::Constant(0x1.8p23f);
  return (x + shift) - shift;
}

// Calls add(weights, importance) for all chunks. A last chunk is padded with zero weights of
// importance 0.
template <bool kWeighted, typename Add>
void ForLanes(std::span<const float> weights, std::span<const float> importance, const Add& add) {
  const auto load = [](std::span<const float> values, size_t i) {
    return Lanes(Eigen::Map<const Lanes>(&values[i]));
  };
  size_t i = 0;
  for (; i + kLanes <= weights.size(); i += kLanes) {
    if constexpr (kWeighted) {
      add(load(weights, i), load(importance, i));
    } else {
      add(load(weights, i), Lanes::Ones());
    }
  }
  if (i == weights.size()) return;
  Lanes tail = Lanes::Zero();
  Lanes tail_importance = Lanes::Zero();
  std::copy(weights.begin() + i, weights.end(), tail.data());
  if constexpr (kWeighted) {
    std::copy(importance.begin() + i, importance.end(), tail_importance.data());
  } else {
    std::fill_n(tail_importance.data(), weights.size() - i, 1.0f);
  }
  add(tail, tail_importance);
}

template <bool kWeighted>
ScaleFit FitStepsImpl(std::span<const float> weights,
                      std::span<const float> importance,
                      float scale,
                      float low,
                      float high) {
  const float inverse = 1.0f / scale;
  Lanes error = Lanes::Zero();
  Lanes cross = Lanes::Zero();
  Lanes energy = Lanes::Zero();
  ForLanes<kWeighted>(weights, importance, [&](const Lanes& w, const Lanes& v) {
    const Lanes clipped = (w * inverse).max(low).min(high);
    const Lanes q = RoundEven(clipped);
    const Lanes d = w - q * scale;
    if constexpr (kWeighted) {
      const Lanes vd = v * d;
      error += vd * d;
      cross += q * vd;
      energy += v * q * q;
    } else {  // padding adds q = 0 and d = 0
      error += d * d;
      cross += q * d;
      energy += q * q;
    }
  });
  return {SumLanes(error), SumLanes(cross), SumLanes(energy)};
}

template <bool kWeighted>
AffineFit FitAffineImpl(std::span<const float> weights,
                        std::span<const float> importance,
                        float scale,
                        float minimum,
                        float max_code) {
  const float inverse = 1.0f / scale;
  Lanes error = Lanes::Zero();
  Lanes cross = Lanes::Zero();
  Lanes residual = Lanes::Zero();
  Lanes energy = Lanes::Zero();
  Lanes sum = Lanes::Zero();
  Lanes total = Lanes::Zero();
  ForLanes<kWeighted>(weights, importance, [&](const Lanes& w, const Lanes& v) {
    const Lanes shifted = w + minimum;
    const Lanes clipped = (shifted * inverse).max(0.0f).min(max_code);
    const Lanes q = RoundEven(clipped);
    const Lanes d = shifted - q * scale;
    const Lanes vd = v * d;
    const Lanes vq = v * q;
    error += vd * d;
    cross += q * vd;
    residual += vd;
    energy += vq * q;
    sum += vq;
    total += v;
  });
  return {SumLanes(error),
          SumLanes(cross),
          SumLanes(residual),
          SumLanes(energy),
          SumLanes(sum),
          SumLanes(total)};
}

}  // namespace

ScaleFit FitSteps(std::span<const float> weights,
                  std::span<const float> importance,
                  float scale,
                  float low,
                  float high) {
  return importance.empty() ? FitStepsImpl<false>(weights, importance, scale, low, high)
                            : FitStepsImpl<true>(weights, importance, scale, low, high);
}

LevelTable::LevelTable(std::span<const int8_t> levels) {
  for (int i = 0; i < kHalfSteps; ++i) {
    const float middle = (static_cast<float>(i - kHalfSteps / 2) + 0.5f) / 2.0f;
    const auto distance = [&](int8_t level) {
      return std::abs(static_cast<float>(level) - middle);
    };
    const auto nearest = std::min_element(levels.begin(), levels.end(), [&](int8_t a, int8_t b) {
      return distance(a) < distance(b);
    });
    codes_[i] = static_cast<uint8_t>(nearest - levels.begin());
    levels_[i] = static_cast<float>(*nearest);
  }
}

ScaleFit FitLevels(std::span<const float> weights,
                   std::span<const float> importance,
                   float scale,
                   const LevelTable& table) {
  const float inverse = 1.0f / scale;
  // Two lanes hide the latency of additions; the table look-ups cannot be vectors.
  float error[2] = {};
  float cross[2] = {};
  float energy[2] = {};
  for (size_t i = 0; i < weights.size(); ++i) {
    const float q = table.Level(weights[i] * inverse);
    const float d = weights[i] - q * scale;
    const float v = importance.empty() ? 1.0f : importance[i];
    error[i % 2] += v * d * d;
    cross[i % 2] += v * q * d;
    energy[i % 2] += v * q * q;
  }
  return {error[0] + error[1], cross[0] + cross[1], energy[0] + energy[1]};
}

AffineFit FitAffine(std::span<const float> weights,
                    std::span<const float> importance,
                    float scale,
                    float minimum,
                    float max_code) {
  return importance.empty() ? FitAffineImpl<false>(weights, importance, scale, minimum, max_code)
                            : FitAffineImpl<true>(weights, importance, scale, minimum, max_code);
}

bool AffineFit::BestMove(float* scale_step, float* minimum_step) const {
  if (!(total > 0.0f)) return false;
  const double determinant = static_cast<double>(energy) * total - static_cast<double>(sum) * sum;
  // Where all codes are equal, rounding alone keeps this from 0.
  if (!(determinant > 1e-6 * static_cast<double>(energy) * total)) {
    *scale_step = 0.0f;
    *minimum_step = -residual / total;
    return true;
  }
  *scale_step = static_cast<float>(
      (static_cast<double>(cross) * total - static_cast<double>(residual) * sum) / determinant);
  *minimum_step = static_cast<float>(
      (static_cast<double>(cross) * sum - static_cast<double>(residual) * energy) / determinant);
  return true;
}

float AffineFit::ErrorAfter(float a, float b) const {
  return error + (energy * a - 2.0f * cross) * a + (total * b + 2.0f * residual) * b -
         2.0f * sum * a * b;
}

}  // namespace bitbudget
