#ifndef BITBUDGET_RUNTIME_QUANTIZE_BLOCK_RTN_H_
#define BITBUDGET_RUNTIME_QUANTIZE_BLOCK_RTN_H_

#include <span>

#include "runtime/tensor/block_codec.h"

namespace bitbudget {

// Rounds a block to nearest; every search starts from this. The scale of a group spans its range:
// without minimum, the weight of the largest magnitude gets the level of the largest magnitude
// (with a negative scale if its sign asks for one); with minimum, all levels cover the range of the
// weights, extended to 0 in types that cannot store a minimum of the other sign. d and dmin give
// the largest scale and minimum of the block the largest integers. Codes are the nearest for the
// scales as stored. d or dmin is infinite if f16 cannot hold it. REQUIRES: weights.size() ==
// traits.block, all finite.
void RoundBlock(std::span<const float> weights, const BlockTraits& traits, BlockFields* fields);

// The nearest code of every weight for the scales and minimums in `fields` (d and dmin finite). A
// group of scale 0 gets the code of level 0, or the nearest to it that there is.
void RoundToFields(std::span<const float> weights, const BlockTraits& traits, BlockFields* fields);

// sum importance_i (weight_i - decoded_i)^2 in double; empty importance: all 1.
double SquaredError(std::span<const float> weights,
                    std::span<const float> importance,
                    const BlockTraits& traits,
                    const BlockFields& fields);

namespace internal {

// Whether all instruction sets of this machine find the same range and codes of weights, whole
// vectors of 8, on a grid of 16 levels: for tests.
bool RoundingsAgree(std::span<const float> weights, float scale, float minimum);

}  // namespace internal
}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_BLOCK_RTN_H_
