#ifndef BITBUDGET_RUNTIME_QUANTIZE_GROUP_SCALE_SEARCH_H_
#define BITBUDGET_RUNTIME_QUANTIZE_GROUP_SCALE_SEARCH_H_

#include "runtime/quantize/block_search_parts.h"
#include "runtime/tensor/block_codec.h"

namespace bitbudget {

// SearchScales (block_scale_search.h) for block types of several groups: integer scales of the
// groups times d.
void SearchGroupScales(const WeightedBlock& block, BlockFields* fields);

namespace internal {

// Whether all instruction sets of this machine find the same from RoundBlock's fields: for tests.
bool ScaleSearchesAgree(const WeightedBlock& block, const BlockFields& start);

}  // namespace internal
}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_GROUP_SCALE_SEARCH_H_
