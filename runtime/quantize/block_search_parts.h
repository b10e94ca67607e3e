#ifndef BITBUDGET_RUNTIME_QUANTIZE_BLOCK_SEARCH_PARTS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_BLOCK_SEARCH_PARTS_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>

#include "runtime/quantize/level_table.h"
#include "runtime/tensor/block_codec.h"
#include "runtime/tensor/block_format.h"

namespace bitbudget {

// What the searches of block_scale_search.h and block_affine_search.h share.

inline constexpr float kInfiniteError = std::numeric_limits<float>::infinity();

// Starting points that are refined, and how often codes and scales are fitted to each other.
inline constexpr int kFinalists = 2;
inline constexpr int kRefineRounds = 2;
inline constexpr int kBlockRounds = 3;

// The weights of one block, and how much their squared errors count: one importance per weight, or
// none at all.
struct WeightedBlock {
  std::span<const float> weights;
  std::span<const float> importance;
  const BlockTraits& traits;
};

// Ratios to the scale that spans a group. Geometric, so that small ones lie as densely.
class Ratios {
 public:
  // REQUIRES: 2 <= count <= 24.
  Ratios(int count, float largest, float smallest);
  std::span<const float> list() const { return std::span(values_).first(count_); }

 private:
  std::array<float, 24> values_;
  int count_;
};

// The levels of a type without minimums: the integers from `low` to `high`, or those of a table.
struct BlockLevels {
  explicit BlockLevels(const BlockTraits& traits);
  // The smaller of the ends: a scale that gives it to the largest weight clips nothing.
  float end() const { return std::min(-low, high); }
  bool symmetric() const { return -low == high; }

  float low;
  float high;
  const LevelTable* table;
};

// Ratios to the scale that spans the weights. Few levels gain by clipping a lot, many by steps that
// happen to fit, so their ratios are near 1.
std::span<const float> ScaleRatios(int codes);

// Ratios of the range of codes to that of the weights, for grids with a minimum.
std::span<const float> RangeRatios(int codes);
// Then each end alone, by half steps.
inline constexpr int kEndSteps[] = {-3, -2, -1, 1, 2, 3};

// A search: sets what of `fields`, which hold RoundBlock's, it finds better; codes are left alone.
using SearchBody = void (*)(const WeightedBlock& block, BlockFields* fields);

namespace internal {

// Whether all `bodies` find the same from `start`: for tests.
bool SearchesAgree(std::span<const SearchBody> bodies,
                   const WeightedBlock& block,
                   const BlockFields& start);

}  // namespace internal
}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_BLOCK_SEARCH_PARTS_H_
