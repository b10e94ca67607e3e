#include "runtime/eval/perplexity.h"

#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/kernels/table.h"
#include "runtime/model/decoder/token_pass.h"

namespace bitbudget {
namespace {

// Sums the negative log likelihoods of every window's tokens but the first.
class Likelihood final : public PassObserver {
 public:
  Likelihood(std::span<const std::vector<int32_t>> windows, const ModelConfig& config)
      : windows_(windows), end_stage_(NumStages(config)), result_(windows.size()) {
    for (size_t i = 0; i < windows.size(); ++i) {
      result_[i].tokens = static_cast<int>(windows[i].size()) - 1;
    }
  }

  PassNeeds Needs() const override { return {.end_stage = end_stage_, .logits = true}; }

  void Logits(const ObservedRows& logits) override {
    const std::vector<int32_t>& window = windows_[logits.sequence];
    for (int64_t row = 0; row < logits.rows; ++row) {
      const float* const own = logits.values + row * logits.width;
      result_[logits.sequence].nll_sum += BoundedNats(Kernels().log_sum_exp(own, logits.width) -
                                                      own[window[logits.first + row + 1]]);
    }
  }

  Evaluation Take() { return std::move(result_); }

 private:
  std::span<const std::vector<int32_t>> windows_;
  const int end_stage_;
  Evaluation result_;
};

}  // namespace

absl::StatusOr<Evaluation> MeasureText(const Transformer& transformer,
                                       WeightSource* weights,
                                       std::span<const std::vector<int32_t>> windows,
                                       int threads,
                                       Progress* progress) {
  if (windows.empty()) return Evaluation();
  std::vector<std::span<const int32_t>> predicting;  // the last token of a window predicts nothing
  for (const std::vector<int32_t>& window : windows) {
    predicting.push_back(std::span(window).first(window.size() - 1));
  }
  TokenPass pass(transformer, std::move(predicting), threads);
  Likelihood likelihood(windows, transformer.model().config());
  BB_RETURN_IF_ERROR(pass.Observe(weights, &likelihood, "perplexity", progress));
  return likelihood.Take();
}

}  // namespace bitbudget
