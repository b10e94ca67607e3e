#include "runtime/quantize/block_search_parts.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "runtime/quantize/integer_grid.h"

namespace bitbudget {
namespace {

float UnitCost(std::span<const float> values,
               std::span<const float> curvatures,
               float unit,
               int smallest,
               int largest) {
  const float inverse = 1.0f / unit;
  float cost = 0.0f;
  for (size_t i = 0; i < values.size(); ++i) {
    const float clipped =
        std::clamp(values[i] * inverse, static_cast<float>(smallest), static_cast<float>(largest));
    const float integer = RoundEven(clipped);
    const float deviation = values[i] - unit * integer;
    cost += curvatures[i] * deviation * deviation;
  }
  return cost;
}

}  // namespace

Ratios::Ratios(int count, float largest, float smallest) : count_(count) {
  CHECK_LE(count, static_cast<int>(values_.size()));
  for (int step = 0; step < count; ++step) {
    values_[step] = largest * std::pow(smallest / largest,
                                       static_cast<float>(step) / static_cast<float>(count - 1));
  }
}

std::array<float, kFinalists> BestUnits(std::span<const float> values,
                                        std::span<const float> curvatures,
                                        int smallest,
                                        int largest) {
  std::array<float, kFinalists> units{};
  std::array<float, kFinalists> costs;
  costs.fill(kInfiniteError);
  float end = 0.0f;
  for (const float value : values) {
    if (std::abs(value) > std::abs(end)) end = value;
  }
  const auto try_unit = [&](float unit) {
    unit = RoundToHalf(unit);
    if (unit == 0.0f || !std::isfinite(unit)) return;
    float cost = UnitCost(values, curvatures, unit, smallest, largest);
    for (int i = 0; i < kFinalists; ++i) {
      if (unit == units[i]) return;
      if (cost < costs[i]) {
        std::swap(cost, costs[i]);
        std::swap(unit, units[i]);
      }
    }
  };
  constexpr int kSteps = 20;
  for (int step = 0; step < kSteps; ++step) {
    const float ratio = 1.0f - 0.015f * static_cast<float>(step);
    try_unit(end / ((static_cast<float>(largest) + 0.4f) * ratio));
    if (smallest < 0) try_unit(end / ((static_cast<float>(smallest) - 0.4f) * ratio));
  }
  return units;
}

int16_t NearestMultiple(float value, float unit, int smallest, int largest) {
  if (unit == 0.0f) return 0;
  return static_cast<int16_t>(std::lrint(
      std::clamp(value / unit, static_cast<float>(smallest), static_cast<float>(largest))));
}

}  // namespace bitbudget
