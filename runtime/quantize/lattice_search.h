#ifndef BITBUDGET_RUNTIME_QUANTIZE_LATTICE_SEARCH_H_
#define BITBUDGET_RUNTIME_QUANTIZE_LATTICE_SEARCH_H_

#include <span>

#include "runtime/tensor/block_codec.h"

namespace bitbudget {

// RoundBlock, RoundToFields and the search of SearchBlock for codebook types (lattice.h).

// The scale of a group gives its largest weight the largest level; d the largest scale the largest
// integer. Codes are the nearest of the codebook for the scales as stored. d is infinite if f16
// cannot hold it.
void RoundLatticeBlock(std::span<const float> weights,
                       const BlockTraits& traits,
                       BlockFields* fields);

// The nearest codes for the scales in `fields`, weighted by `importance` (empty: all alike).
void RoundToLattice(std::span<const float> weights,
                    std::span<const float> importance,
                    const BlockTraits& traits,
                    BlockFields* fields);

// Scales and codes of a small weighted squared error: every group is searched for its scale, ratios
// of the widest one ranked by rounding to the levels without the codebook, the best of them refined
// with it; then d and the integers are chosen and fitted to the codes in turn. `fields` hold
// RoundLatticeBlock's.
void SearchLatticeBlock(std::span<const float> weights,
                        std::span<const float> importance,
                        const BlockTraits& traits,
                        BlockFields* fields);

// `d` as such a block stores it.
float StoredLatticeScale(const BlockTraits& traits, float d);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_LATTICE_SEARCH_H_
