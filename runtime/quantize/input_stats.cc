#include "runtime/quantize/input_stats.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

absl::Status CheckMoments(std::span<const float> moments, int64_t cols) {
  if (static_cast<int64_t>(moments.size()) != cols) {
    return absl::InvalidArgumentError(
        absl::StrCat(moments.size(), " moments for ", cols, " columns"));
  }
  for (int64_t column = 0; column < cols; ++column) {
    if (!(moments[column] >= 0.0f) || std::isinf(moments[column])) {
      return absl::InvalidArgumentError(absl::StrCat("the moment of column ",
                                                     column,
                                                     " is ",
                                                     moments[column],
                                                     ", not a finite number of at least 0"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckGram(const Gram& gram, int64_t cols) {
  if (gram.size != cols || static_cast<int64_t>(gram.values.size()) != cols * cols) {
    return absl::InvalidArgumentError(
        absl::StrCat("a Gram matrix of ", gram.size, " inputs for ", cols, " columns"));
  }
  const int64_t bad = ViewOf(gram.values, 1, cols * cols).FirstNonFinite();
  if (bad < 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the Gram matrix is ",
                                                 gram.values[bad],
                                                 " at inputs ",
                                                 bad / cols,
                                                 " and ",
                                                 bad % cols,
                                                 ", not a finite number"));
}

}  // namespace bitbudget
