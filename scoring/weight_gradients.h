#ifndef BITBUDGET_SCORING_WEIGHT_GRADIENTS_H_
#define BITBUDGET_SCORING_WEIGHT_GRADIENTS_H_

#include <functional>
#include <span>
#include <utility>

#include "absl/status/status.h"
#include "runtime/quantize/matrix.h"
#include "scoring/gradient_pass.h"
#include "scoring/scorer.h"

namespace bitbudget {

// The gradient of a loss by the weights of every component: gives take(id, gradient [outputs,
// inputs]), each component once, summed over all rows of the batch. Of a tied embedding it is that
// of both uses together. An error of `take` ends the pass.
class WeightGradients final : public GradientSink {
 public:
  using Take = std::function<absl::Status(ComponentId id, const Matrix<float>& gradient)>;

  WeightGradients(const ScoreContext& context, Take take)
      : context_(context), take_(std::move(take)) {}

  absl::Status Product(ComponentId id, const Matrix<float>& x, const Matrix<float>& d_y) override;
  absl::Status Head(int64_t sequence, const Matrix<float>& x, const Matrix<float>& d_y) override;
  absl::Status Lookup(std::span<const int32_t> tokens, const Matrix<float>& d_rows) override;

 private:
  const ScoreContext& context_;
  const Take take_;
  Matrix<float> of_head_;  // so far
};

// A loss whose rows count by weights relative to their mean; all alike where there are none. Only
// gradients are weighted, Apply() returns the value of the loss as it is.
class WeightedRows final : public LogitLoss<float> {
 public:
  WeightedRows(LogitLoss<float>* loss, std::span<const float> weights);
  double Apply(int64_t first, Matrix<float>* logits) override;

 private:
  LogitLoss<float>* const loss_;
  const std::span<const float> weights_;
  const double scale_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_WEIGHT_GRADIENTS_H_
