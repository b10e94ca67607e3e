#include "runtime/quantize/finite_rows.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// Rows that a thread takes at a time: enough to pay for handing them out.
constexpr int64_t kRowsAtOnce = 8;

absl::Status CheckFinite(std::span<const float> weights, int64_t row) {
  const int64_t column = ViewOf(weights, 1, weights.size()).FirstNonFinite();
  if (column < 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("weight at row ",
                                                 row,
                                                 ", column ",
                                                 column,
                                                 " is ",
                                                 weights[column],
                                                 ", not a finite number"));
}

}  // namespace

absl::Status ForEachFiniteRow(
    const TensorView& weights,
    int threads,
    const std::function<absl::Status(std::span<const float> values, int64_t row)>& visit) {
  const int64_t items = (weights.rows + kRowsAtOnce - 1) / kRowsAtOnce;
  std::vector<absl::Status> statuses(items);
  ParallelFor(threads, items, [&](int64_t item, int) {
    std::vector<float> values(weights.cols);
    const int64_t end = std::min(weights.rows, (item + 1) * kRowsAtOnce);
    for (int64_t row = item * kRowsAtOnce; row < end && statuses[item].ok(); ++row) {
      weights.ReadRow(row, values);
      statuses[item] = CheckFinite(values, row);
      if (statuses[item].ok()) statuses[item] = visit(values, row);
    }
  });
  for (const absl::Status& status : statuses) BB_RETURN_IF_ERROR(status);
  return absl::OkStatus();
}

}  // namespace bitbudget
