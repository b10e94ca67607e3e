#ifndef BITBUDGET_RUNTIME_QUANTIZE_SVID_H_
#define BITBUDGET_RUNTIME_QUANTIZE_SVID_H_

#include "absl/status/status.h"
#include "runtime/quantize/input_stats.h"
#include "runtime/tensor/encoding.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

// Sign-value-independent decomposition (OneBit, arXiv 2402.11295, section 3.3): h g^T is the best
// rank-1 approximation of |W|, whose error is at most that of the best rank-1 approximation of W
// (Proposition 2). |W| has no negative entry, so its leading singular pair has none either, and
// power iteration from a vector of ones finds it. With moments, the error of column j counts
// moments[j] times, and of this pair and that of |W| diag(sqrt(moments)) the one with the smaller
// such error is taken. sign(0) is +1. Sums run in double in a fixed order; the result does not
// depend on `threads`.
//
// kInvalidArgument: weights that are not finite, or whose vectors exceed f16. REQUIRES: an encoding
// in a one-bit format with bytes that are all 0; moments that are empty or one per column.
absl::Status EncodeOneBit(const TensorView& weights,
                          const InputStats& stats,
                          int threads,
                          Encoding* encoding);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_SVID_H_
