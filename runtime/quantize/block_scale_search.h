#ifndef BITBUDGET_RUNTIME_QUANTIZE_BLOCK_SCALE_SEARCH_H_
#define BITBUDGET_RUNTIME_QUANTIZE_BLOCK_SCALE_SEARCH_H_

#include "runtime/quantize/block_search_parts.h"
#include "runtime/tensor/block_codec.h"

namespace bitbudget {

// Searches for the scales of a block type without minimums: evenly spaced levels or a table of
// them, one f16 scale, or integer scales of the groups times d. Sets d and scales in `fields`,
// which hold RoundBlock's, where it finds any; codes are left to RoundToFields.
void SearchScales(const WeightedBlock& block, BlockFields* fields);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_BLOCK_SCALE_SEARCH_H_
