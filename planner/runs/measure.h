#ifndef BITBUDGET_PLANNER_RUNS_MEASURE_H_
#define BITBUDGET_PLANNER_RUNS_MEASURE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/workspace/workspace.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/eval/evaluator.h"
#include "runtime/eval/metrics.h"
#include "runtime/eval/probes.h"
#include "runtime/eval/reference.h"

namespace bitbudget {

// All metrics of an evaluation with their 95 % intervals.
plans::Metrics MetricsOf(const Evaluation& evaluation);

plans::Interval ToProto(const Interval& interval);

// Probes of one role with the reference's behaviour on them, and an evaluator over both.
struct ProbeSet {
  std::unique_ptr<ReferenceRun> reference;
  std::unique_ptr<Evaluator> evaluator;
};

// Errors as ProbeMaker::Prompts and ReferenceRun::Create. Everything passed in outlives the set.
// `distributions`: of ReferenceOptions.
absl::StatusOr<ProbeSet> MakeProbeSet(const ProbeMaker& maker,
                                      ProbeRole role,
                                      int64_t count,
                                      Workspace* workspace,
                                      Progress* progress,
                                      bool distributions = true);

// The same for known prompts, and, unless `completions` is empty, their known completions of
// `completion_tokens` at most.
absl::StatusOr<ProbeSet> MakeProbeSet(std::span<const std::vector<int32_t>> prompts,
                                      int64_t completion_tokens,
                                      std::vector<Generation> completions,
                                      Workspace* workspace,
                                      Progress* progress,
                                      bool distributions = true);

// Runs `weights` over windows of natural text; sets *perplexity and its interval.
absl::Status MeasurePerplexity(const Workspace& workspace,
                               WeightSource* weights,
                               std::span<const std::vector<int32_t>> windows,
                               Progress* progress,
                               double* perplexity,
                               plans::Interval* interval);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_MEASURE_H_
