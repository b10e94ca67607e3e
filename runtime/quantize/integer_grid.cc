#include "runtime/quantize/integer_grid.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>

#include "runtime/base/float16.h"

namespace bitbudget {
float RoundToHalf(float value) { return HalfToFloat(FloatToHalf(value)); }

IntegerGrid RangeGrid(std::span<const float> weights, const Format& format) {
  float low = 0.0f;
  float high = 0.0f;
  for (const float weight : weights) {
    low = std::min(low, weight);
    high = std::max(high, weight);
  }
  const int max_code = (1 << format.bits) - 1;
  if (!format.zero_point) {
    const int zero = SymmetricZero(format);
    // In this order a group of zeros has scale +0: std::max keeps its first argument on equality.
    const float largest = std::max(high, -low);
    return {RoundToHalf(largest / static_cast<float>(max_code - zero)), zero};
  }
  const float scale = RoundToHalf((high - low) / static_cast<float>(max_code));
  if (scale == 0.0f || std::isinf(scale)) return {scale, 0};
  return {scale, static_cast<int>(RoundEven(std::min(-low / scale, static_cast<float>(max_code))))};
}

void RoundToGrid(std::span<const float> weights,
                 const IntegerGrid& grid,
                 const Format& format,
                 std::span<uint8_t> codes) {
  CHECK(std::isfinite(grid.scale));
  CHECK_EQ(codes.size(), weights.size());
  if (grid.scale == 0.0f) {
    std::fill(codes.begin(), codes.end(), static_cast<uint8_t>(grid.zero));
    return;
  }
  const float low = static_cast<float>(-grid.zero);
  const float high = static_cast<float>((1 << format.bits) - 1 - grid.zero);
  for (size_t i = 0; i < weights.size(); ++i) {
    const float steps = RoundEven(std::clamp(weights[i] / grid.scale, low, high));
    codes[i] = static_cast<uint8_t>(static_cast<int>(steps) + grid.zero);
  }
}

double SquaredError(std::span<const float> weights,
                    std::span<const float> importance,
                    const IntegerGrid& grid,
                    std::span<const uint8_t> codes) {
  double sum = 0.0;
  for (size_t i = 0; i < weights.size(); ++i) {
    // The product is exact in float: 9 bits times 11.
    const float decoded = static_cast<float>(codes[i] - grid.zero) * grid.scale;
    const double error = static_cast<double>(weights[i]) - static_cast<double>(decoded);
    sum += (importance.empty() ? 1.0 : static_cast<double>(importance[i])) * error * error;
  }
  return sum;
}

}  // namespace bitbudget
