#ifndef BITBUDGET_RUNTIME_QUANTIZE_GPTQ_ROWS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_GPTQ_ROWS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/aligned_buffer.h"
#include "runtime/quantize/coded_rows.h"
#include "runtime/quantize/encoder.h"
#include "runtime/quantize/feedback.h"

namespace bitbudget {

// A few rows w[rows][k] that are encoded together, so that H is read once for all of them. The
// result for a row does not depend on the others.
struct RowBatch {
  int64_t cols = 0;
  std::vector<float> weights;
  std::vector<CodedRow> coded;

  int64_t rows() const { return static_cast<int64_t>(coded.size()); }
  std::span<const float> Weights(int64_t row) const {
    return std::span(weights).subspan(row * cols, cols);
  }
  // weights - values of all rows.
  void Errors(int64_t group, std::vector<float>* errors) const;
};

// One pass of error feedback over the rows: new levels for all inputs, in the feedback's order.
// `errors` [rows]: the output errors d H d^T of the result, summed in double.
// `chooser`, if not null, chooses the grids of every unit of inputs (a group or block) when the
// feedback reaches it, on the weights as they are then and weighed by the costs of the inputs; the
// order must be the natural one, and units must divide Feedback::kColumnBatch. Otherwise the grids
// of `batch->coded` stay. Codebook types take the natural order only. Errors: the chooser's (a
// scale beyond f16), which leave the batch unusable.
absl::Status RunFeedback(const Feedback& feedback,
                         const FormatLevels& levels,
                         const Encoder* chooser,
                         RowBatch* batch,
                         std::span<double> errors);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_GPTQ_ROWS_H_
