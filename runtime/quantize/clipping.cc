#include "runtime/quantize/clipping.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace bitbudget {
namespace {

double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

// The logit of a ratio of the largest ratio, kept where gradients do not vanish.
double LogitOf(double ratio) {
  const double share = std::clamp(ratio / GroupClipping::kLargestRatio, 0.001, 0.999);
  return std::log(share / (1 - share));
}

// A weight in steps, and the nearest level, at most one step beyond the ends.
struct Rounded {
  float steps;
  float level;
};
Rounded RoundSteps(float weight, float h, float low, float high) {
  const float steps = weight / h;
  return {steps, RoundEven(std::clamp(steps, low - 1, high + 1))};
}

}  // namespace

void RoundingErrors(std::span<const float> weights,
                    const IntegerGrid& grid,
                    const Format& format,
                    std::span<float> errors) {
  if (grid.scale == 0.0f) {
    std::transform(weights.begin(), weights.end(), errors.begin(), std::negate<float>());
    return;
  }
  const float low = static_cast<float>(-grid.zero);
  const float high = static_cast<float>((1 << format.bits) - 1 - grid.zero);
  for (size_t j = 0; j < weights.size(); ++j) {
    const float level = RoundSteps(weights[j], grid.scale, low, high).level;
    errors[j] = grid.scale * std::clamp(level, low, high) - weights[j];
  }
}

GroupClipping::GroupClipping(std::span<const float> weights, const Format& format)
    : format_(format), max_code_((1 << format.bits) - 1) {
  CHECK(format.IsInteger());
  for (size_t j = 0; j < weights.size(); ++j) {
    const double w = weights[j];
    if (!format.zero_point) {
      if (std::abs(w) <= high_) continue;
      high_ = std::abs(w);
      highest_ = j;
    } else if (w > high_) {
      high_ = w;
      highest_ = j;
    } else if (w < low_) {
      low_ = w;
      lowest_ = j;
    }
  }
}

GroupClipping::Logits GroupClipping::LogitsOf(const IntegerGrid& grid) const {
  const double h = grid.scale;
  if (!format_.zero_point) {
    return {LogitOf(high_ > 0 ? std::abs(h) * (max_code_ - grid.zero) / high_ : 1),
            0,
            h < 0 ? -1.0 : 1.0};
  }
  return {LogitOf(high_ > 0 ? h * (max_code_ - grid.zero) / high_ : 1),
          LogitOf(low_ < 0 ? -h * grid.zero / low_ : 1),
          1};
}

double GroupClipping::StepOf(const Logits& logits) const {
  const double high = kLargestRatio * Sigmoid(logits.high) * high_;
  if (!format_.zero_point) return logits.sign * high / (max_code_ - SymmetricZero(format_));
  return (high - kLargestRatio * Sigmoid(logits.low) * low_) / max_code_;
}

GroupClipping::Grid GroupClipping::GridOf(const Logits& logits) const {
  Grid out;
  const float step = RoundToHalf(static_cast<float>(StepOf(logits)));
  out.learns = step != 0.0f && std::isfinite(step);
  out.grid.scale = std::isfinite(step) ? step : 0.0f;
  out.grid.zero = format_.zero_point ? 0 : SymmetricZero(format_);
  if (format_.zero_point && out.learns) {
    const double low = kLargestRatio * Sigmoid(logits.low) * low_;
    out.grid.zero = static_cast<int>(std::lrint(std::clamp(-low / step, 0.0, max_code_)));
  }
  return out;
}

GroupClipping::Logits GroupClipping::Backward(std::span<const float> weights,
                                              const Logits& logits,
                                              const Grid& grid,
                                              std::span<const float> d_decoded,
                                              std::span<float> d_weights) const {
  std::fill(d_weights.begin(), d_weights.end(), 0.0f);
  if (!grid.learns) return {};
  const float h = grid.grid.scale;
  const float low = static_cast<float>(-grid.grid.zero);
  const float high = static_cast<float>(max_code_) + low;
  double d_h = 0;
  for (size_t j = 0; j < weights.size(); ++j) {
    const auto [steps, level] = RoundSteps(weights[j], h, low, high);
    const bool inside = low <= level && level <= high;
    const float slope = inside ? level - steps : std::clamp(level, low, high);
    d_h += static_cast<double>(d_decoded[j]) * slope;
    if (inside && !d_weights.empty()) d_weights[j] = d_decoded[j];
  }
  // From h to the range's ends, and from these to logits and extreme weights.
  const double divisor = format_.zero_point ? max_code_ : max_code_ - SymmetricZero(format_);
  const double d_high = logits.sign * d_h / divisor;
  const double high_share = Sigmoid(logits.high);
  const double low_share = Sigmoid(logits.low);
  if (!d_weights.empty() && high_ > 0) {
    const double towards = !format_.zero_point && weights[highest_] < 0 ? -1 : 1;
    d_weights[highest_] += static_cast<float>(towards * d_high * kLargestRatio * high_share);
  }
  Logits gradient;
  gradient.high = d_high * kLargestRatio * high_ * high_share * (1 - high_share);
  if (!format_.zero_point) return gradient;
  if (!d_weights.empty() && low_ < 0) {
    d_weights[lowest_] -= static_cast<float>(d_high * kLargestRatio * low_share);
  }
  gradient.low = -d_high * kLargestRatio * low_ * low_share * (1 - low_share);
  return gradient;
}

}  // namespace bitbudget
