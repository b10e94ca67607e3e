#ifndef BITBUDGET_RUNTIME_QUANTIZE_BLOCK_AFFINE_SEARCH_H_
#define BITBUDGET_RUNTIME_QUANTIZE_BLOCK_AFFINE_SEARCH_H_

#include "runtime/quantize/block_search_parts.h"
#include "runtime/tensor/block_codec.h"

namespace bitbudget {

// Searches for the scales and minimums of a block type with both: one f16 pair, or pairs of
// integers of the groups times d and dmin. Sets these in `fields`, which hold RoundBlock's, where
// it finds any; codes are left to RoundToFields.
void SearchScalesAndMinimums(const WeightedBlock& block, BlockFields* fields);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_BLOCK_AFFINE_SEARCH_H_
