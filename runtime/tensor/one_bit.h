#ifndef BITBUDGET_RUNTIME_TENSOR_ONE_BIT_H_
#define BITBUDGET_RUNTIME_TENSOR_ONE_BIT_H_

#include <cstdint>
#include <span>

#include "runtime/tensor/encoding.h"

namespace bitbudget {

// One-bit layers (OneBit, arXiv 2402.11295): [rows, cols] ~ sign(W) * (h g^T). The signs come
// first, a bit per weight, 1 where it is negative, eight per byte along the inputs, rows padded to
// bytes; then g, f16[cols], and h, f16[rows].
struct OneBitLayout {
  OneBitLayout(int64_t rows, int64_t cols)
      : sign_row_bytes(rows == 0 ? 0 : cols / 8 + (cols % 8 != 0)),
        g_offset(rows * sign_row_bytes),
        h_offset(g_offset + 2 * cols) {}

  int64_t sign_row_bytes;
  int64_t g_offset;
  int64_t h_offset;
};

// Row `row`: sign * (g * h), products that are exact in float. REQUIRES: a one-bit format.
void DecodeOneBitRow(const Encoding& encoding, int64_t row, std::span<float> out);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_ONE_BIT_H_
