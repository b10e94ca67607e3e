#include "runtime/training/gradient_profiler.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/training/losses.h"
#include "runtime/training/products.h"
#include "runtime/training/row_functions.h"

namespace bitbudget {
namespace {

double SquaredNorm(const Matrix<float>& x) { return x.cast<double>().squaredNorm(); }

// Looks at every product of a backward pass.
class Visitor final : public GradientVisitor<float>, public ProductObserver<float> {
 public:
  Visitor(const Model& model, TrainedModel* trained, int threads, GradientProfile* profile)
      : model_(model), trained_(*trained), threads_(threads), profile_(*profile) {}

  LayerBackward<float> Want(int layer) override {
    layer_ = layer;
    return {.products = this};
  }

  void Product(LayerMatrix which, const Matrix<float>& x, const Matrix<float>& d_y) override {
    MatrixSignal& signal = profile_.layers[layer_][which];
    signal.gradient_norm = SquaredNorm(TransposedTimes(d_y, x, threads_));
    const LayerWeights<float>& weights = trained_.Layer(layer_);
    const Matrix<float> original = ReadMatrix(model_, LayerComponentId(layer_, which));
    const Matrix<float> wanted = ProductWeights<float>(original).Forward(x, threads_);
    Matrix<float> y = weights.product(which).Forward(x, threads_);
    if (weights.parameters().normalised[which]) y = NormOutputs(y, threads_);
    const double error = SquaredNorm(y - wanted);
    signal.sqnr_db = error == 0 ? std::numeric_limits<double>::infinity()
                                : 10 * std::log10(SquaredNorm(wanted) / error);
  }

 private:
  const Model& model_;
  TrainedModel& trained_;
  const int threads_;
  GradientProfile& profile_;
  int layer_ = 0;
};

}  // namespace

GradientProfiler::GradientProfiler(const Model& model,
                                   std::span<const std::vector<int32_t>> sequences,
                                   const Options& options,
                                   std::unique_ptr<OriginalOutputs> original)
    : model_(model),
      sequences_(sequences),
      options_(options),
      original_(std::move(original)),
      pass_(model,
            {.max_positions = LongestSequence(sequences),
             .token_bits = options.token_bits,
             .threads = options.threads}) {}

absl::StatusOr<std::unique_ptr<GradientProfiler>> GradientProfiler::Create(
    const Model& model,
    std::span<const std::vector<int32_t>> sequences,
    const Options& options,
    Progress* progress) {
  BB_ASSIGN_OR_RETURN(std::unique_ptr<OriginalOutputs> original,
                      OriginalOutputs::Create(model, sequences, options.threads, progress));
  return std::unique_ptr<GradientProfiler>(
      new GradientProfiler(model, sequences, options, std::move(original)));
}

GradientProfile GradientProfiler::Measure(int64_t step,
                                          const ModelEnds<float>& ends,
                                          TrainedModel* trained) {
  GradientProfile profile;
  profile.step = step;
  profile.layers.resize(pass_.layers());
  pass_.Forward(ends, trained, sequences_);
  std::vector<int64_t> all(sequences_.size());
  std::iota(all.begin(), all.end(), int64_t{0});
  Distillation<float> loss(original_->LogitsOf(all), NextTokens(sequences_), options_.kl_weight);
  Visitor visitor(model_, trained, options_.threads, &profile);
  profile.loss = pass_.Backward(ends, trained, &loss, &visitor);
  return profile;
}

}  // namespace bitbudget
