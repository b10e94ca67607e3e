#ifndef BITBUDGET_PLANNER_RUNS_MEASURE_H_
#define BITBUDGET_PLANNER_RUNS_MEASURE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/workspace/workspace.h"
#include "runtime/base/progress.h"
#include "runtime/eval/evaluator.h"
#include "runtime/eval/metrics.h"
#include "runtime/eval/probes.h"
#include "runtime/eval/reference.h"

namespace bitbudget {

// A statistic with its 95 % interval.
struct Measured {
  double value = 0;
  Interval interval;
};
Measured MeasuredOf(Statistic statistic, const Evaluation& evaluation);

// All metrics of an evaluation, in the units of Statistic.
struct Metrics {
  Measured fdt_mean;
  Measured fdt_75;
  Measured sdt_mean;
  Measured dppl;
  Measured kl_mean;
  Measured top1;  // share of positions with the reference's argmax on top, in [0, 1]
};
Metrics MetricsOf(const Evaluation& evaluation);

// How far a candidate is from the reference along the prompts, which are natural text or what the
// model sampled: all tokens behind the first kTextPromptTokens.
struct TextDivergence {
  Measured kl;    // KL(reference || candidate), nats per token
  Measured top1;  // share of positions with the reference's argmax on top, in [0, 1]
  // The 99.9th percentile of the tokens' KLs (runtime/eval/kl_tail.h); none where an evaluation
  // kept only sums, and in plans of earlier versions.
  std::optional<Measured> kl_999 = {};
};
// Nullopt where no prompt is long enough.
std::optional<TextDivergence> TextDivergenceOf(const Evaluation& evaluation);

// Perplexities of the same tokens.
struct TextPerplexity {
  Measured reference;
  Measured candidate;
  std::optional<Measured> uniform;  // of the uniform assignment beside the candidate
};
// Nullopt where no prompt is long enough. `reference`: ReferenceRun::Own().
std::optional<TextPerplexity> TextPerplexityOf(const Evaluation& reference,
                                               const Evaluation& candidate);

// Probes of one role with the reference's behaviour on them, and an evaluator over both.
struct ProbeSet {
  std::unique_ptr<ReferenceRun> reference;
  std::unique_ptr<Evaluator> evaluator;
};

// Whether the reference's distributions are kept, without which only FDT can be measured.
enum class Distributions : uint8_t { kKeep, kSkip };

// Errors as ProbeMaker::Prompts and ReferenceRun::Create. Everything passed in outlives the set.
absl::StatusOr<ProbeSet> MakeProbeSet(const ProbeMaker& maker,
                                      ProbeRole role,
                                      int64_t count,
                                      Workspace* workspace,
                                      Progress* progress,
                                      Distributions distributions = Distributions::kKeep);

// The same for known prompts and, unless `completions` is empty, their known completions of at most
// `completion_tokens`.
absl::StatusOr<ProbeSet> MakeProbeSet(std::span<const std::vector<int32_t>> prompts,
                                      int64_t completion_tokens,
                                      std::vector<Generation> completions,
                                      Workspace* workspace,
                                      Progress* progress,
                                      Distributions distributions = Distributions::kKeep);

// What a file of somebody else measures: a model with the settings and shapes of the workspace's
// (CheckSameModel), in the formats that it is stored in, with the KL of every token of the prompts.
// Its panels take their memory from the workspace's bank.
absl::StatusOr<Evaluation> EvaluateStored(const Model& other,
                                          const ProbeSet& set,
                                          Workspace* workspace);

// The completions of a reference run's probes, for the function above.
std::vector<Generation> CompletionsOf(const ReferenceRun& reference);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_MEASURE_H_
