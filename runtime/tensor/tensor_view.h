#ifndef BITBUDGET_RUNTIME_TENSOR_TENSOR_VIEW_H_
#define BITBUDGET_RUNTIME_TENSOR_TENSOR_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/tensor/format.h"

namespace bitbudget {

// A non-owning view of a row-major matrix [rows, cols] in a checkpoint (a vector is one row):
// floats or blocks of a GGUF type, row after row. The data need not be aligned: safetensors
// guarantees no alignment. REQUIRES everywhere: a float or block format, and Fits(format, cols).
struct TensorView {
  Format format = kFormatF32;
  const std::byte* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  // GGUF files of llama models store the rows of q_proj and k_proj in another order, head by head:
  // with d = interleaved_rows, row h * d + j * (d/2) + i of the matrix (j < 2, i < d/2) stands at
  // h * d + 2 * i + j. 0: rows stand in their own order. REQUIRES: even, divides rows.
  int64_t interleaved_rows = 0;

  int64_t size() const { return rows * cols; }
  int64_t row_bytes() const { return SizeBytes(format, 1, cols); }
  int64_t bytes() const { return SizeBytes(format, rows, cols); }

  // Where row `row` stands, counted in rows.
  int64_t StoredRow(int64_t row) const;

  // The bytes of row `row`. REQUIRES: 0 <= row < rows.
  const std::byte* RowData(int64_t row) const { return data + StoredRow(row) * row_bytes(); }

  // Row `row` as float: floats are widened exactly, blocks are decoded as the reference decoder
  // does. REQUIRES: out.size() == cols.
  void ReadRow(int64_t row, std::span<float> out) const;

  // The largest magnitude of all values; infinity when one of them is NaN or infinite.
  float LargestMagnitude() const;

  // Linear index (row * cols + column) of the first NaN or infinity in the order of the file, or
  // -1.
  int64_t FirstNonFinite() const;
};

// A view of float data that lives elsewhere (tests, transformed weights).
TensorView ViewOf(std::span<const float> data, int64_t rows, int64_t cols);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_TENSOR_VIEW_H_
