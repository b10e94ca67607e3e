#include "scoring/move_gradient.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "runtime/base/status_macros.h"
#include "runtime/training/losses.h"
#include "runtime/training/products.h"
#include "scoring/gradient_pass.h"

namespace bitbudget {
namespace {

// The weighted mean divergence from the original model.
class WeightedDivergence final : public LogitLoss<float> {
 public:
  WeightedDivergence(Distillation<float>::Reference reference, std::span<const float> weights)
      : weights_(weights),
        scale_(static_cast<double>(weights.size()) /
               std::accumulate(weights.begin(), weights.end(), 0.0)),
        mean_(std::move(reference), std::vector<int32_t>(weights.size(), -1), 1) {}

  double Apply(int64_t first, Matrix<float>* logits) override {
    mean_.Apply(first, logits);
    for (int64_t row = 0; row < logits->rows(); ++row) {
      logits->row(row) *= static_cast<float>(scale_ * weights_[first + row]);
    }
    return 0;  // which nobody reads
  }

 private:
  const std::span<const float> weights_;
  const double scale_;
  Distillation<float> mean_;
};

class Moves final : public GradientSink {
 public:
  Moves(const ScoreContext& context, const Assignment& incumbent)
      : context_(context), incumbent_(incumbent), costs_(NoCosts(context)) {}

  absl::Status Product(ComponentId id, const Matrix<float>& x, const Matrix<float>& d_y) override {
    return Along(id, TransposedTimes(d_y, x, context_.threads));
  }

  absl::Status Head(int64_t sequence, const Matrix<float>& x, const Matrix<float>& d_y) override {
    const Matrix<float> part = TransposedTimes(d_y, x, context_.threads);
    if (sequence == 0) {
      of_head_ = part;
    } else {
      of_head_ += part;
    }
    const bool last = sequence + 1 == static_cast<int64_t>(context_.sequences.size());
    const ComponentId id = context_.model->head();
    // A tied embedding's gradient is the sum over both its uses.
    return last && id != 0 ? Along(id, std::exchange(of_head_, {})) : absl::OkStatus();
  }

  absl::Status Lookup(std::span<const int32_t> tokens, const Matrix<float>& d_rows) override {
    const Component& embedding = context_.model->component(0);
    Matrix<float> gradient = std::move(of_head_);
    if (gradient.size() == 0) gradient = Matrix<float>::Zero(embedding.rows, embedding.cols);
    for (size_t row = 0; row < tokens.size(); ++row) {
      gradient.row(tokens[row]) += d_rows.row(static_cast<int64_t>(row));
    }
    return Along(0, gradient);
  }

  FormatCosts Take() { return std::move(costs_); }

 private:
  absl::Status Along(ComponentId id, const Matrix<float>& gradient) {
    const std::vector<Format>& ladder = (*context_.ladders)[id];
    double own = 0;
    BB_RETURN_IF_ERROR(ForEachChange(context_, id, [&](size_t i, const Matrix<float>& change) {
      costs_[id][i] = Dot(gradient, change, context_.threads);
      if (ladder[i] == incumbent_[id]) own = costs_[id][i];
    }));
    for (double& cost : costs_[id]) cost -= own;
    return absl::OkStatus();
  }

  const ScoreContext& context_;
  const Assignment& incumbent_;
  FormatCosts costs_;
  Matrix<float> of_head_;
};

absl::StatusOr<EncodedModel> Encoded(const ScoreContext& context, const Assignment& incumbent) {
  EncodedModel encoded;
  Progress silent;
  BB_RETURN_IF_ERROR(context.bank->Prepare(incumbent, context.threads, &silent));
  for (size_t c = 0; c < incumbent.size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    if (incumbent[c] == context.bank->StoredFormat(id)) continue;
    BB_ASSIGN_OR_RETURN(encoded.encodings[id], context.bank->Encoded({id, incumbent[c]}));
  }
  return encoded;
}

}  // namespace

absl::StatusOr<FormatCosts> MoveGradients(const ScoreContext& context,
                                          const Assignment& incumbent,
                                          const OriginalOutputs& original) {
  BB_ASSIGN_OR_RETURN(const EncodedModel encoded, Encoded(context, incumbent));
  std::vector<int64_t> all(context.sequences.size());
  std::iota(all.begin(), all.end(), 0);
  WeightedDivergence loss(original.LogitsOf(all), context.row_weights);
  Moves moves(context, incumbent);
  DecodedLayers layers(*context.model, encoded);
  BB_RETURN_IF_ERROR(
      RunGradientPassOf(*DecodedEnds(*context.model, encoded), &layers, context, &loss, &moves));
  return moves.Take();
}

}  // namespace bitbudget
