#ifndef BITBUDGET_RUNTIME_QUANTIZE_SPARSE_CODES_H_
#define BITBUDGET_RUNTIME_QUANTIZE_SPARSE_CODES_H_

#include <cstdint>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "runtime/quantize/input_stats.h"
#include "runtime/tensor/encoding.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

// Sets `codes` to the codes of the weights of a row that `mask`, one entry per column, keeps.
using CodeKeptWeights = std::function<absl::Status(std::span<const float> values,
                                                   int64_t row,
                                                   std::span<const uint8_t> mask,
                                                   std::span<uint32_t> codes)>;

// Chooses the weights that a sparse format stores (pruning.h), and writes their mask and their
// codes, which `code_row` sets row by row, from many threads. Scales and zero points are left to
// it. Errors: those of ChooseKept and of `code_row`. REQUIRES: an encoding in a sparse format
// whose bytes are all 0.
absl::Status EncodeSparse(const TensorView& weights,
                          const InputStats& stats,
                          int threads,
                          Encoding* encoding,
                          const CodeKeptWeights& code_row);

// Writes the code plane of a sparse encoding whose mask is in place: all codes, row after row.
// first_codes[row] is the index of a row's first code; the last entry is their number.
void WriteSparseCodes(std::span<const uint32_t> codes,
                      std::span<const int64_t> first_codes,
                      Encoding* encoding);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_SPARSE_CODES_H_
