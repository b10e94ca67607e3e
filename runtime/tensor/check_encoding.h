#ifndef BITBUDGET_RUNTIME_TENSOR_CHECK_ENCODING_H_
#define BITBUDGET_RUNTIME_TENSOR_CHECK_ENCODING_H_

#include "absl/status/status.h"
#include "runtime/tensor/encoding.h"

namespace bitbudget {

// Checks bytes that come from a file: their number is that of format and shape, a sparse matrix has
// a mask that holds exactly the weights that its format keeps, and scales, minimums and float
// weights are finite. Whatever passes can be decoded and run. kInvalidArgument says what is wrong
// and in which row. REQUIRES: Fits(format, cols).
absl::Status CheckEncoding(const Encoding& encoding);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_CHECK_ENCODING_H_
