#ifndef BITBUDGET_RUNTIME_QUANTIZE_INTEGER_ROWS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_INTEGER_ROWS_H_

#include <cstdint>
#include <span>

#include "runtime/quantize/integer_grid.h"
#include "runtime/tensor/encoding.h"

namespace bitbudget {

// Rows of encodings in dense integer formats, whose codes an encoder of whole rows sets. REQUIRES
// everywhere: such a format.

// The grids of a row, one per group.
void ReadGrids(const Encoding& encoding, int64_t row, std::span<IntegerGrid> grids);

// Sets a row to these codes in [0, 2^bits) on these grids, whose scales are f16 values.
void WriteIntegerRow(std::span<const uint8_t> codes,
                     std::span<const IntegerGrid> grids,
                     int64_t row,
                     Encoding* encoding);

// Sets a row to the nearest codes of the weights on these grids.
void WriteRoundedRow(std::span<const float> weights,
                     std::span<const IntegerGrid> grids,
                     int64_t row,
                     Encoding* encoding);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_INTEGER_ROWS_H_
