#ifndef BITBUDGET_RUNTIME_EVAL_PERPLEXITY_H_
#define BITBUDGET_RUNTIME_EVAL_PERPLEXITY_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/model/transformer.h"

namespace bitbudget {

// Negative log likelihood of natural text, window by window: every token but a window's first is
// predicted from the window's earlier ones.
struct TextLikelihood {
  struct Window {
    double nll_sum = 0;  // nats
    int64_t tokens = 0;  // predicted
  };
  std::vector<Window> windows;

  // exp(mean nll over all predicted tokens)
  double Perplexity() const;
};

// kCancelled on interruption.
absl::StatusOr<TextLikelihood> MeasureText(const Transformer& transformer,
                                           const WeightSet& weights,
                                           std::span<const std::vector<int32_t>> windows,
                                           int threads,
                                           Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_PERPLEXITY_H_
