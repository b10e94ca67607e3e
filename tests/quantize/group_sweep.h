#ifndef BITBUDGET_TESTS_QUANTIZE_GROUP_SWEEP_H_
#define BITBUDGET_TESTS_QUANTIZE_GROUP_SWEEP_H_

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "runtime/tensor/block_format.h"

namespace bitbudget {

// The smallest weighted error that a group can have with real numbers for scale and minimum, up to
// the fineness of a sweep: every grid is followed by the least squares for the codes it chooses. In
// double and in so many words, beside the search that it judges.
class GroupSweep {
 public:
  GroupSweep(const BlockTraits& traits,
             std::span<const float> weights,
             std::span<const float> importance)
      : traits_(traits), weights_(weights), importance_(importance) {
    for (const float weight : weights) {
      low_ = std::min<double>(low_, weight);
      high_ = std::max<double>(high_, weight);
    }
  }

  double Best() const {
    double best = std::numeric_limits<double>::infinity();
    if (traits_.kind == FormatKind::kMXFP4) {  // powers of two, all of them
      for (int exponent = -60; exponent <= 20; ++exponent) {
        best = std::min(best, ErrorOf(std::ldexp(1.0, exponent)));
      }
      return best;
    }
    if (!traits_.minimum) {
      const double largest = std::max(-low_, high_);
      const int end = std::min(std::abs(traits_.Level(0)), LargestLevel());
      const double widest = largest / std::max(end, 1);
      for (int step = 1; step <= 1200; ++step) {
        for (const double sign : {1.0, -1.0}) {
          best = std::min(best, FittedError(sign * widest * 1.2 * step / 1200, 0));
        }
      }
      return best;
    }
    // Ranges with ends up to a tenth outside and half the range inside.
    const double range = high_ - low_;
    for (int from = -6; from <= 30; ++from) {
      for (int to = -6; to <= 30; ++to) {
        const double low = low_ + range * from / 60;
        const double high = high_ - range * to / 60;
        if (!(low < high)) continue;
        best = std::min(best, FittedError((high - low) / (traits_.codes - 1), -low));
      }
    }
    return best;
  }

 private:
  int LargestLevel() const {
    return traits_.kind == FormatKind::kTQ2_0 ? 1 : traits_.Level(traits_.codes - 1);
  }

  // The nearest level to a number of steps.
  double Level(double steps) const {
    if (traits_.levels == nullptr && traits_.step == 1) {
      return std::clamp<double>(std::nearbyint(steps), traits_.Level(0), LargestLevel());
    }
    double nearest = traits_.Level(0);
    for (int code = 1; code < traits_.codes; ++code) {
      const double level = traits_.Level(code);
      if (std::abs(level - steps) < std::abs(nearest - steps)) nearest = level;
    }
    return nearest;
  }

  // The error on this grid as it is.
  double ErrorOf(double scale) const {
    double sum = 0;
    for (size_t i = 0; i < weights_.size(); ++i) {
      const double error = weights_[i] - scale * Level(weights_[i] / scale);
      sum += importance_[i] * error * error;
    }
    return sum;
  }

  // The error of the least-squares scale (and minimum) for the levels nearest on this grid.
  double FittedError(double scale, double minimum) const {
    double vqq = 0, vq = 0, v = 0, vqw = 0, vw = 0, vww = 0;
    for (size_t i = 0; i < weights_.size(); ++i) {
      const double q = Level((weights_[i] + minimum) / scale);
      const double w = weights_[i];
      const double weight = importance_[i];
      vqq += weight * q * q;
      vq += weight * q;
      v += weight;
      vqw += weight * q * w;
      vw += weight * w;
      vww += weight * w * w;
    }
    if (!traits_.minimum) return vqq > 0 ? vww - vqw * vqw / vqq : vww;
    const double determinant = vqq * v - vq * vq;
    if (!(determinant > 1e-9 * vqq * v)) return vww - vw * vw / v;
    const double a = (vqw * v - vw * vq) / determinant;
    const double b = (vw * vqq - vqw * vq) / determinant;
    return vww - a * vqw - b * vw;
  }

  const BlockTraits& traits_;
  std::span<const float> weights_;
  std::span<const float> importance_;
  double low_ = 0;
  double high_ = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_QUANTIZE_GROUP_SWEEP_H_
