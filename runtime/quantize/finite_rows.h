#ifndef BITBUDGET_RUNTIME_QUANTIZE_FINITE_ROWS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_FINITE_ROWS_H_

#include <cstdint>
#include <functional>
#include <span>

#include "absl/status/status.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

// Calls visit(values, row) for every row, after a check that its values are finite, on up to
// `threads` threads. The first bad row's error, whatever their number: kInvalidArgument with row
// and column where values are not finite, else what visit returned.
absl::Status ForEachFiniteRow(
    const TensorView& weights,
    int threads,
    const std::function<absl::Status(std::span<const float> values, int64_t row)>& visit);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_FINITE_ROWS_H_
