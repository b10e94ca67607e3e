#ifndef BITBUDGET_RUNTIME_QUANTIZE_FINITE_ROWS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_FINITE_ROWS_H_

#include <cstdint>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

// Calls visit(values, row) for every row of finite values, on up to `threads` threads. Returns the
// error of the first bad row, whatever the number of threads: kInvalidArgument with row and column
// for values that are not finite, or what visit returned.
absl::Status ForEachFiniteRow(
    const TensorView& weights,
    int threads,
    const std::function<absl::Status(std::span<const float> values, int64_t row)>& visit);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_FINITE_ROWS_H_
