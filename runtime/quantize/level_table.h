#ifndef BITBUDGET_RUNTIME_QUANTIZE_LEVEL_TABLE_H_
#define BITBUDGET_RUNTIME_QUANTIZE_LEVEL_TABLE_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/tensor/block_format.h"

namespace bitbudget {

// A few integer levels in [-128, 127]. The border between two neighbours is a multiple of one half,
// so every half step has one nearest level.
class LevelTable {
 public:
  struct Border {
    float value;
    float step;  // between the levels on its sides
  };

  // REQUIRES: at least one level.
  explicit LevelTable(std::span<const int8_t> levels);

  float lowest() const { return lowest_; }
  std::span<const Border> borders() const { return borders_; }  // increasing

  // The code of the nearest level; of equals the first in the list.
  uint8_t Code(float value) const {
    float half_steps = 2.0f * value + kHalfSteps / 2;
    half_steps = half_steps > 0.0f ? half_steps : 0.0f;
    return codes_[static_cast<int>(half_steps < kHalfSteps - 1 ? half_steps : kHalfSteps - 1)];
  }

 private:
  static constexpr int kHalfSteps = 512;

  float lowest_;
  std::vector<Border> borders_;
  std::array<uint8_t, kHalfSteps> codes_;
};

// The table of a block type whose levels are not evenly spaced, else null.
const LevelTable* LevelTableOf(const BlockTraits& traits);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_LEVEL_TABLE_H_
