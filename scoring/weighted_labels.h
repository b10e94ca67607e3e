#ifndef BITBUDGET_SCORING_WEIGHTED_LABELS_H_
#define BITBUDGET_SCORING_WEIGHTED_LABELS_H_

#include <cmath>
#include <cstdint>
#include <numeric>
#include <span>

#include "runtime/training/losses.h"
#include "scoring/scorer.h"

namespace bitbudget {

// SampledLabels whose log likelihoods count by the context's row weights: the second moments of
// their gradients are then those of the weighted mean divergence.
class WeightedLabels final : public LogitLoss<float> {
 public:
  explicit WeightedLabels(const ScoreContext& context)
      : labels_(context.seed, /*first_row=*/0), weights_(context.row_weights) {
    const double sum = std::accumulate(weights_.begin(), weights_.end(), 0.0);
    scale_ = static_cast<double>(weights_.size()) / sum;
  }

  double Apply(int64_t first, Matrix<float>* logits) override {
    const double loss = labels_.Apply(first, logits);
    for (int64_t row = 0; row < logits->rows() && !weights_.empty(); ++row) {
      logits->row(row) *= static_cast<float>(std::sqrt(scale_ * weights_[first + row]));
    }
    return loss;
  }

 private:
  SampledLabels<float> labels_;
  std::span<const float> weights_;
  double scale_ = 1;
};

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_WEIGHTED_LABELS_H_
