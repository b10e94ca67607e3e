#include "scoring/weight_gradients.h"

#include <numeric>

#include "runtime/training/products.h"

namespace bitbudget {

absl::Status WeightGradients::Product(ComponentId id,
                                      const Matrix<float>& x,
                                      const Matrix<float>& d_y) {
  return take_(id, TransposedTimes(d_y, x, context_.threads));
}

absl::Status WeightGradients::Head(int64_t sequence,
                                   const Matrix<float>& x,
                                   const Matrix<float>& d_y) {
  Matrix<float> part = TransposedTimes(d_y, x, context_.threads);
  if (sequence == 0) {
    of_head_ = std::move(part);
  } else {
    of_head_ += part;
  }
  const bool last = sequence + 1 == static_cast<int64_t>(context_.sequences.size());
  const ComponentId id = context_.model->head();
  return last && id != 0 ? take_(id, std::exchange(of_head_, {})) : absl::OkStatus();
}

absl::Status WeightGradients::Lookup(std::span<const int32_t> tokens, const Matrix<float>& d_rows) {
  const Component& embedding = context_.model->component(0);
  Matrix<float> gradient = std::move(of_head_);
  if (gradient.size() == 0) gradient = Matrix<float>::Zero(embedding.rows, embedding.cols);
  for (size_t row = 0; row < tokens.size(); ++row) {
    gradient.row(tokens[row]) += d_rows.row(static_cast<int64_t>(row));
  }
  return take_(0, gradient);
}

WeightedRows::WeightedRows(LogitLoss<float>* loss, std::span<const float> weights)
    : loss_(loss),
      weights_(weights),
      scale_(static_cast<double>(weights.size()) /
             std::accumulate(weights.begin(), weights.end(), 0.0)) {}

double WeightedRows::Apply(int64_t first, Matrix<float>* logits) {
  const double value = loss_->Apply(first, logits);
  for (int64_t row = 0; row < logits->rows() && !weights_.empty(); ++row) {
    logits->row(row) *= static_cast<float>(scale_ * weights_[first + row]);
  }
  return value;
}

}  // namespace bitbudget
