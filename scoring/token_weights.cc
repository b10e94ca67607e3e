#include "scoring/token_weights.h"

#include <utility>
#include <vector>

#include "runtime/base/status_macros.h"
#include "runtime/training/losses.h"
#include "scoring/gradient_pass.h"

namespace bitbudget {
namespace {

class SquaredNorms final : public GradientSink {
 public:
  explicit SquaredNorms(const Model& model) : model_(model) {}

  absl::Status Product(ComponentId id,
                       const Matrix<float>& /*x*/,
                       const Matrix<float>& d_y) override {
    std::vector<float>& norms = norms_[id];
    for (int64_t row = 0; row < d_y.rows(); ++row) norms.push_back(d_y.row(row).squaredNorm());
    return absl::OkStatus();
  }

  absl::Status Head(int64_t /*sequence*/,
                    const Matrix<float>& x,
                    const Matrix<float>& d_y) override {
    return Product(model_.head(), x, d_y);
  }

  absl::Status Lookup(std::span<const int32_t> /*tokens*/,
                      const Matrix<float>& /*d_rows*/) override {
    return absl::OkStatus();
  }

  TokenWeights Take() { return std::move(norms_); }

 private:
  const Model& model_;
  TokenWeights norms_;
};

// Divides by the mean.
void Normalise(std::vector<float>* weights) {
  double sum = 0;
  for (const float weight : *weights) sum += weight;
  const double mean = sum / static_cast<double>(weights->size());
  for (float& weight : *weights) {
    weight = mean > 0 ? static_cast<float>(weight / mean) : 1.0f;
  }
}

}  // namespace

absl::StatusOr<TokenWeights> MeasureTokenWeights(const ScoreContext& context) {
  std::vector<int64_t> lengths;
  for (const std::vector<int32_t>& sequence : context.sequences) {
    lengths.push_back(static_cast<int64_t>(sequence.size()));
  }
  SampledLabels<float> labels(context.seed, /*first_row=*/0);
  SquaredNorms norms(*context.model);
  BB_RETURN_IF_ERROR(
      RunGradientPasses(context, MakeBatches(lengths, kTokenWeightBatch), &labels, &norms));
  TokenWeights weights = norms.Take();
  for (auto& [id, of_component] : weights) Normalise(&of_component);
  return weights;
}

}  // namespace bitbudget
