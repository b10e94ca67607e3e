#ifndef BITBUDGET_RUNTIME_TENSOR_TENSOR_VIEW_H_
#define BITBUDGET_RUNTIME_TENSOR_TENSOR_VIEW_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/tensor/format.h"

namespace bitbudget {

enum class DType : uint8_t { kF32, kF16, kBF16 };

int64_t DTypeBytes(DType dtype);
const char* DTypeName(DType dtype);  // "F32", "F16", "BF16" as safetensors spells them
Format DTypeFormat(DType dtype);

// A non-owning view of a row-major matrix [rows, cols] in a checkpoint (a vector is one row). The
// data need not be aligned: safetensors guarantees no alignment.
struct TensorView {
  DType dtype = DType::kF32;
  const std::byte* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;

  int64_t size() const { return rows * cols; }
  int64_t bytes() const { return size() * DTypeBytes(dtype); }

  // Widens row `row` to float, exactly. REQUIRES: out.size() == cols.
  void ReadRow(int64_t row, std::span<float> out) const;

  // Linear index of the first NaN or infinity, or -1.
  int64_t FirstNonFinite() const;
};

// A view of float data that lives elsewhere (tests, transformed weights).
TensorView ViewOf(std::span<const float> data, int64_t rows, int64_t cols);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_TENSOR_VIEW_H_
