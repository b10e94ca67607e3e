#ifndef BITBUDGET_RUNTIME_QUANTIZE_FLOAT_CODES_H_
#define BITBUDGET_RUNTIME_QUANTIZE_FLOAT_CODES_H_

#include "absl/status/status.h"
#include "runtime/quantize/input_stats.h"
#include "runtime/tensor/encoding.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

// Converts a matrix to a float format, dense or sparse, rounding to nearest even. kInvalidArgument,
// by row and column: weights that are not finite, and stored weights beyond the largest f16 or
// bf16. REQUIRES: an encoding in a float format whose bytes are all 0.
absl::Status EncodeFloats(const TensorView& weights,
                          const InputStats& stats,
                          int threads,
                          Encoding* encoding);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_FLOAT_CODES_H_
