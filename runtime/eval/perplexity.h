#ifndef BITBUDGET_RUNTIME_EVAL_PERPLEXITY_H_
#define BITBUDGET_RUNTIME_EVAL_PERPLEXITY_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/eval/metrics.h"
#include "runtime/model/decoder/transformer.h"

namespace bitbudget {

// Negative log likelihood of natural text: one result per window with `tokens` and `nll_sum` set
// (every token but a window's first is predicted from the window's earlier ones), so that
// Compute(Statistic::kDppl, ...) is the perplexity and its intervals are those of any metric.
// kCancelled on interruption, or the errors of the weights.
absl::StatusOr<Evaluation> MeasureText(const Transformer& transformer,
                                       WeightSource* weights,
                                       std::span<const std::vector<int32_t>> windows,
                                       int threads,
                                       Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_PERPLEXITY_H_
