#ifndef BITBUDGET_RUNTIME_QUANTIZE_GROUP_AFFINE_SEARCH_H_
#define BITBUDGET_RUNTIME_QUANTIZE_GROUP_AFFINE_SEARCH_H_

#include "runtime/quantize/block_search_parts.h"
#include "runtime/tensor/block_codec.h"

namespace bitbudget {

// SearchScalesAndMinimums (block_affine_search.h) for block types of several groups: integer scales
// and minimums of the groups times d and dmin.
void SearchGroupScalesAndMinimums(const WeightedBlock& block, BlockFields* fields);

namespace internal {

// Whether all instruction sets of this machine find the same from RoundBlock's fields: for tests.
bool AffineSearchesAgree(const WeightedBlock& block, const BlockFields& start);

}  // namespace internal
}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_GROUP_AFFINE_SEARCH_H_
