#include "runtime/quantize/level_table.h"

#include <algorithm>
#include <cmath>

namespace bitbudget {

LevelTable::LevelTable(std::span<const int8_t> levels) {
  std::vector<int> sorted(levels.begin(), levels.end());
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  lowest_ = static_cast<float>(sorted[0]);
  for (size_t i = 1; i < sorted.size(); ++i) {
    borders_.push_back({static_cast<float>(sorted[i - 1] + sorted[i]) / 2.0f,
                        static_cast<float>(sorted[i] - sorted[i - 1])});
  }
  for (int i = 0; i < kHalfSteps; ++i) {
    const float middle = (static_cast<float>(i - kHalfSteps / 2) + 0.5f) / 2.0f;
    const auto distance = [&](int8_t level) {
      return std::abs(static_cast<float>(level) - middle);
    };
    const auto nearest = std::min_element(levels.begin(), levels.end(), [&](int8_t a, int8_t b) {
      return distance(a) < distance(b);
    });
    codes_[i] = static_cast<uint8_t>(nearest - levels.begin());
  }
}

const LevelTable* LevelTableOf(const BlockTraits& traits) {
  static const LevelTable non_linear{internal::kNonLinearLevels};
  static const LevelTable e2m1{internal::kE2M1Levels};
  if (traits.levels == nullptr) return nullptr;
  return traits.levels == internal::kE2M1Levels ? &e2m1 : &non_linear;
}

}  // namespace bitbudget
