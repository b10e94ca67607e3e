#ifndef BITBUDGET_RUNTIME_QUANTIZE_BLOCK_SEARCH_PARTS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_BLOCK_SEARCH_PARTS_H_

#include <array>
#include <cstdint>
#include <limits>
#include <span>

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

  std::span<const float> Group(int g) const {
    return weights.subspan(g * traits.group, traits.group);
  }
  std::span<const float> Importance(int g) const {
    return importance.empty() ? importance : importance.subspan(g * traits.group, traits.group);
  }
  // Of a weight of a group.
  float ImportanceOf(int g, int i) const { return importance.empty() ? 1.0f : Importance(g)[i]; }
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

// The f16 units (d or dmin) that approximate values best by integers from `smallest` to `largest`,
// best first, 0 where there is none. A deviation costs sum curvature (value - unit * integer)^2.
// Only units are tried that give the largest value an integer near the largest; with integers of
// both signs, near either end.
std::array<float, kFinalists> BestUnits(std::span<const float> values,
                                        std::span<const float> curvatures,
                                        int smallest,
                                        int largest);

// The integer from `smallest` to `largest` that is nearest to value / unit; 0 for a unit of 0.
int16_t NearestMultiple(float value, float unit, int smallest, int largest);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_BLOCK_SEARCH_PARTS_H_
