#ifndef BITBUDGET_RUNTIME_TENSOR_ONE_BIT_H_
#define BITBUDGET_RUNTIME_TENSOR_ONE_BIT_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "runtime/tensor/encoding.h"
#include "runtime/tensor/input_stats.h"
#include "runtime/tensor/tensor_view.h"

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

// Sign-value-independent decomposition (paper, section 3.3): h g^T is the best rank-1 approximation
// of |W|, whose error is at most that of the best rank-1 approximation of W (Proposition 2). |W|
// has no negative entry, so its leading singular pair has none either, and power iteration from a
// vector of ones finds it. With moments the error of column j counts moments[j] times, and the
// result has the lesser such error of this and the pair of |W| diag(sqrt(moments)). sign(0) is +1.
// Sums run in double in a fixed order; the result does not depend on `threads`.
//
// kInvalidArgument: weights that are not finite, or whose vectors exceed f16. REQUIRES: an encoding
// in a one-bit format with bytes that are all 0; moments that are empty or one per column.
absl::Status EncodeOneBit(const TensorView& weights,
                          const InputStats& stats,
                          int threads,
                          Encoding* encoding);

// Row `row`: sign * (g * h), products that are exact in float. REQUIRES: a one-bit format.
void DecodeOneBitRow(const Encoding& encoding, int64_t row, std::span<float> out);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_ONE_BIT_H_
