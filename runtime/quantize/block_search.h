#ifndef BITBUDGET_RUNTIME_QUANTIZE_BLOCK_SEARCH_H_
#define BITBUDGET_RUNTIME_QUANTIZE_BLOCK_SEARCH_H_

#include <span>

#include "runtime/tensor/block_codec.h"

namespace bitbudget {

// A block with a small squared error, weighted by `importance` (one per weight; empty: all alike).
// Every group is searched for its best scale (and minimum) as a real number; then the integers and
// the f16 scales of the block are chosen for these, and codes, integers and scales are fitted to
// each other in turn until they stay. docs/formats.md, "Encoders", has the steps. Never worse than
// RoundBlock. d or dmin is infinite if f16 cannot hold it. REQUIRES: weights.size() ==
// traits.block, all finite; some importance is positive.
void SearchBlock(std::span<const float> weights,
                 std::span<const float> importance,
                 const BlockTraits& traits,
                 BlockFields* fields);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_BLOCK_SEARCH_H_
