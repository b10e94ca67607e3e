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

// Negative log likelihood of natural text: one result per window, with `tokens` and `nll_sum` set.
// Every token of a window but its first is predicted from the earlier ones, so that
// Compute(Statistic::kDppl, ...) is the perplexity, and its interval is that of any metric.
// Errors: kCancelled on interruption, those of the weights. REQUIRES: no empty window.
absl::StatusOr<Evaluation> MeasureText(const Transformer& transformer,
                                       WeightSource* weights,
                                       std::span<const std::vector<int32_t>> windows,
                                       int threads,
                                       Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_PERPLEXITY_H_
