#include "runtime/quantize/grid_fit.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "runtime/quantize/lanes.h"
#include "runtime/tensor/block_format.h"

namespace bitbudget {
namespace {

using internal::kLanes;
using internal::kRound;
using internal::Lanes;
using internal::ManyLanes;
using internal::SumLanes;

// Calls add(weights, importance) for all chunks. A last chunk is padded with zero weights of
// importance 0.
template <bool kWeighted, typename Add>
BITBUDGET_INLINE void ForLanes(std::span<const float> weights,
                               std::span<const float> importance,
                               const Add& add) {
  Lanes w;
  Lanes v = Lanes{} + 1.0f;
  size_t i = 0;
  for (; i + kLanes <= weights.size(); i += kLanes) {
    std::memcpy(&w, &weights[i], sizeof(w));
    if constexpr (kWeighted) std::memcpy(&v, &importance[i], sizeof(v));
    add(w, v);
  }
  if (i == weights.size()) return;
  w = Lanes{};
  v = Lanes{};
  for (size_t lane = 0; i + lane < weights.size(); ++lane) {
    w[lane] = weights[i + lane];
    v[lane] = kWeighted ? importance[i + lane] : 1.0f;
  }
  add(w, v);
}

// Sums of a ScaleFit over the levels that `nearest` chooses for a vector of w / scale, in place.
template <bool kWeighted, typename Nearest>
BITBUDGET_INLINE ScaleFit FitScale(std::span<const float> weights,
                                   std::span<const float> importance,
                                   float scale,
                                   const Nearest& nearest) {
  const float inverse = 1.0f / scale;
  Lanes error{};
  Lanes cross{};
  Lanes energy{};
  ForLanes<kWeighted>(weights, importance, [&](const Lanes& w, const Lanes& v) {
    Lanes q = w * inverse;
    nearest(q);
    const Lanes d = w - q * scale;
    const Lanes vd = v * d;
    error += vd * d;
    cross += q * vd;
    energy += v * q * q;
  });
  return {SumLanes(error), SumLanes(cross), SumLanes(energy)};
}

template <bool kWeighted>
BITBUDGET_INLINE ScaleFit StepsBody(std::span<const float> weights,
                                    std::span<const float> importance,
                                    const StepGrid& grid) {
  const Lanes lowest = Lanes{} + grid.low;
  const Lanes highest = Lanes{} + grid.high;
  return FitScale<kWeighted>(weights, importance, grid.scale, [&](Lanes& q) {
    q = q > lowest ? q : lowest;
    q = q < highest ? q : highest;
    q = (q + kRound) - kRound;
  });
}

// The steps of FitScale and StepsBody with a grid in every lane: no sums over lanes, which take
// most of the time where groups are small. `count` grids; further lanes repeat the first.
template <bool kWeighted, typename Vector>
BITBUDGET_INLINE void RankLanes(std::span<const float> weights,
                                std::span<const float> importance,
                                const StepGrids& grids,
                                size_t first,
                                size_t count,
                                float* best_scales,
                                float* errors) {
  Vector scale = Vector{} + grids.scales[first];
  Vector lowest = Vector{} + grids.lows[first];
  std::memcpy(&scale, &grids.scales[first], count * sizeof(float));
  std::memcpy(&lowest, &grids.lows[first], count * sizeof(float));
  const Vector highest = lowest + grids.levels;
  const Vector inverse = 1.0f / scale;
  Vector error{};
  Vector cross{};
  Vector energy{};
  for (size_t i = 0; i < weights.size(); ++i) {
    Vector q = weights[i] * inverse;
    q = q > lowest ? q : lowest;
    q = q < highest ? q : highest;
    q = (q + kRound) - kRound;
    const Vector d = weights[i] - q * scale;
    const Vector vd = kWeighted ? importance[i] * d : d;
    error += vd * d;
    cross += q * vd;
    energy += (kWeighted ? importance[i] * q : q) * q;
  }
  const Vector step = cross / energy;
  const Vector none = Vector{} + std::numeric_limits<float>::infinity();
  error = energy > 0.0f ? error - cross * step : none;
  scale += step;
  std::memcpy(errors + first, &error, count * sizeof(float));
  std::memcpy(best_scales + first, &scale, count * sizeof(float));
}

template <bool kWeighted>
BITBUDGET_INLINE void RankBody(std::span<const float> weights,
                               std::span<const float> importance,
                               const StepGrids& grids,
                               float* best_scales,
                               float* errors) {
  const size_t count = grids.scales.size();
  constexpr size_t kMany = 2 * kLanes;
  size_t i = 0;
  for (; i + kLanes < count; i += kMany) {
    const size_t lanes = std::min(kMany, count - i);
    RankLanes<kWeighted, ManyLanes>(weights, importance, grids, i, lanes, best_scales, errors);
  }
  if (i >= count) return;
  RankLanes<kWeighted, Lanes>(weights, importance, grids, i, count - i, best_scales, errors);
}

template <bool kWeighted>
BITBUDGET_INLINE ScaleFit LevelsBody(std::span<const float> weights,
                                     std::span<const float> importance,
                                     float scale,
                                     const LevelTable& table) {
  return FitScale<kWeighted>(weights, importance, scale, [&](Lanes& q) {
    Lanes level = Lanes{} + table.lowest();
    for (const LevelTable::Border& border : table.borders()) {
      const Lanes step = Lanes{} + border.step;
      level += q >= border.value ? step : Lanes{};
    }
    q = level;
  });
}

template <bool kWeighted>
BITBUDGET_INLINE AffineFit AffineBody(std::span<const float> weights,
                                      std::span<const float> importance,
                                      float scale,
                                      float minimum,
                                      float max_code) {
  const float inverse = 1.0f / scale;
  const Lanes highest = Lanes{} + max_code;
  Lanes error{};
  Lanes cross{};
  Lanes residual{};
  Lanes energy{};
  Lanes sum{};
  Lanes total{};
  ForLanes<kWeighted>(weights, importance, [&](const Lanes& w, const Lanes& v) {
    const Lanes shifted = w + minimum;
    Lanes q = shifted * inverse;
    q = q > 0.0f ? q : Lanes{};
    q = q < highest ? q : highest;
    q = (q + kRound) - kRound;
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

// The bodies once for every instruction set.
struct Bodies {
  ScaleFit (*steps)(std::span<const float>, std::span<const float>, const StepGrid&);
  void (*rank)(std::span<const float>, std::span<const float>, const StepGrids&, float*, float*);
  ScaleFit (*levels)(std::span<const float>, std::span<const float>, float, const LevelTable&);
  AffineFit (*affine)(std::span<const float>, std::span<const float>, float, float, float);
};

#define BITBUDGET_BODIES(name, attributes)                                                         \
  struct name {                                                                                    \
    attributes static ScaleFit Steps(std::span<const float> weights,                               \
                                     std::span<const float> importance,                            \
                                     const StepGrid& grid) {                                       \
      return importance.empty() ? StepsBody<false>(weights, importance, grid)                      \
                                : StepsBody<true>(weights, importance, grid);                      \
    }                                                                                              \
    attributes static void Rank(std::span<const float> weights,                                    \
                                std::span<const float> importance,                                 \
                                const StepGrids& grids,                                            \
                                float* best_scales,                                                \
                                float* errors) {                                                   \
      importance.empty() ? RankBody<false>(weights, importance, grids, best_scales, errors)        \
                         : RankBody<true>(weights, importance, grids, best_scales, errors);        \
    }                                                                                              \
    attributes static ScaleFit Levels(std::span<const float> weights,                              \
                                      std::span<const float> importance,                           \
                                      float scale,                                                 \
                                      const LevelTable& table) {                                   \
      return importance.empty() ? LevelsBody<false>(weights, importance, scale, table)             \
                                : LevelsBody<true>(weights, importance, scale, table);             \
    }                                                                                              \
    attributes static AffineFit Affine(std::span<const float> weights,                             \
                                       std::span<const float> importance,                          \
                                       float scale,                                                \
                                       float minimum,                                              \
                                       float max_code) {                                           \
      return importance.empty() ? AffineBody<false>(weights, importance, scale, minimum, max_code) \
                                : AffineBody<true>(weights, importance, scale, minimum, max_code); \
    }                                                                                              \
    static constexpr Bodies kBodies{Steps, Rank, Levels, Affine};                                  \
  }

BITBUDGET_FOR_EVERY_SET(BITBUDGET_BODIES);
std::vector<const Bodies*> Available() { return BITBUDGET_RUNNABLE(kBodies); }

const Bodies& Chosen() {
  static const Bodies& fastest = *Available().back();
  return fastest;
}

}  // namespace

ScaleFit FitSteps(std::span<const float> weights,
                  std::span<const float> importance,
                  const StepGrid& grid) {
  return Chosen().steps(weights, importance, grid);
}

void RankSteps(std::span<const float> weights,
               std::span<const float> importance,
               const StepGrids& grids,
               std::span<float> best_scales,
               std::span<float> errors) {
  const size_t count = grids.scales.size();
  CHECK(grids.lows.size() == count && best_scales.size() == count && errors.size() == count);
  Chosen().rank(weights, importance, grids, best_scales.data(), errors.data());
}

ScaleFit FitLevels(std::span<const float> weights,
                   std::span<const float> importance,
                   float scale,
                   const LevelTable& table) {
  return Chosen().levels(weights, importance, scale, table);
}

AffineFit FitAffine(std::span<const float> weights,
                    std::span<const float> importance,
                    float scale,
                    float minimum,
                    float max_code) {
  return Chosen().affine(weights, importance, scale, minimum, max_code);
}

namespace internal {

bool FitsAgree(std::span<const float> weights, std::span<const float> importance, float scale) {
  const Bodies& a = Baseline::kBodies;
  const auto same = [](const auto& x, const auto& y) {
    return std::memcmp(&x, &y, sizeof(x)) == 0;
  };
  const LevelTable& table = *LevelTableOf(BlockTraitsOf(FormatKind::kIQ4_NL));
  std::vector<float> scales = {scale};
  while (scales.size() < 27) scales.push_back(-0.9f * scales.back());
  const std::vector<float> lows(scales.size(), -4);
  const auto ranked = [&](const Bodies& bodies) {
    std::vector<float> results(2 * scales.size());
    bodies.rank(
        weights, importance, {scales, lows, 7}, results.data(), results.data() + scales.size());
    return results;
  };
  const std::vector<float> ranked_a = ranked(a);
  const StepGrid grid = {scale, -8, 7};
  for (const Bodies* const other : Available()) {
    const Bodies& b = *other;
    const std::vector<float> ranked_b = ranked(b);
    if (std::memcmp(ranked_a.data(), ranked_b.data(), ranked_a.size() * sizeof(float)) != 0 ||
        !same(a.steps(weights, importance, grid), b.steps(weights, importance, grid)) ||
        !same(a.levels(weights, importance, scale, table),
              b.levels(weights, importance, scale, table)) ||
        !same(a.affine(weights, importance, scale, 3 * scale, 15),
              b.affine(weights, importance, scale, 3 * scale, 15))) {
      return false;
    }
  }
  return true;
}

}  // namespace internal

bool AffineFit::BestMove(float* scale_step, float* minimum_step) const {
  if (!(total > 0.0f)) return false;
  const double determinant = static_cast<double>(energy) * total - static_cast<double>(sum) * sum;
  // Where all codes are equal, rounding alone keeps this from 0.
  if (!(determinant > 1e-6 * static_cast<double>(energy) * total)) {
    *scale_step = 0.0f;
    *minimum_step = -residual / total;
    return true;
  }
  const double inverse = 1.0 / determinant;
  *scale_step = static_cast<float>(
      (static_cast<double>(cross) * total - static_cast<double>(residual) * sum) * inverse);
  *minimum_step = static_cast<float>(
      (static_cast<double>(cross) * sum - static_cast<double>(residual) * energy) * inverse);
  return true;
}

float AffineFit::ErrorAfter(float a, float b) const {
  return error + (energy * a - 2.0f * cross) * a + (total * b + 2.0f * residual) * b -
         2.0f * sum * a * b;
}

}  // namespace bitbudget
