#include "runtime/quantize/sparse_codes.h"

#include <glog/logging.h>

#include <algorithm>
#include <vector>

#include "runtime/base/status_macros.h"
#include "runtime/quantize/finite_rows.h"
#include "runtime/quantize/pruning.h"
#include "runtime/tensor/bit_packing.h"
#include "runtime/tensor/sparse_layout.h"

namespace bitbudget {
namespace {

std::vector<int64_t> FirstCodes(std::span<const uint8_t> kept, int64_t rows, int64_t cols) {
  std::vector<int64_t> first(rows + 1);
  for (int64_t row = 0; row < rows; ++row) {
    const auto begin = kept.begin() + row * cols;
    first[row + 1] = first[row] + std::count(begin, begin + cols, 1);
  }
  return first;
}

}  // namespace

absl::Status EncodeSparse(const TensorView& weights,
                          const InputStats& stats,
                          int threads,
                          Encoding* encoding,
                          const CodeKeptWeights& code_row) {
  const int64_t cols = encoding->cols;
  BB_ASSIGN_OR_RETURN(const std::vector<uint8_t> kept,
                      ChooseKept(weights, encoding->format, stats, threads));
  WriteMask(kept, encoding);
  const std::vector<int64_t> first = FirstCodes(kept, encoding->rows, cols);
  std::vector<uint32_t> codes(first.back());
  BB_RETURN_IF_ERROR(
      ForEachFiniteRow(weights, threads, [&](std::span<const float> values, int64_t row) {
        return code_row(values,
                        row,
                        std::span(kept).subspan(row * cols, cols),
                        std::span(codes).subspan(first[row], first[row + 1] - first[row]));
      }));
  WriteSparseCodes(codes, first, encoding);
  return absl::OkStatus();
}

void WriteSparseCodes(std::span<const uint32_t> codes,
                      std::span<const int64_t> first_codes,
                      Encoding* encoding) {
  const Format& format = encoding->format;
  CHECK_EQ(static_cast<int64_t>(first_codes.size()), encoding->rows + 1);
  const SparseLayout layout(format, encoding->rows, encoding->cols);
  uint8_t* const out = encoding->bytes.data() + layout.codes_offset;
  if (format.sparsity.kind == SparsityKind::kShare) {
    PackBits<uint32_t>(codes, format.bits, out);
    return;
  }
  for (int64_t row = 0; row < encoding->rows; ++row) {
    const int64_t first = first_codes[row];
    PackBits<uint32_t>(codes.subspan(first, first_codes[row + 1] - first),
                       format.bits,
                       out + row * layout.code_row_bytes);
  }
}

}  // namespace bitbudget
