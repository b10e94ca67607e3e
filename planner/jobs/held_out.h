#ifndef BITBUDGET_PLANNER_JOBS_HELD_OUT_H_
#define BITBUDGET_PLANNER_JOBS_HELD_OUT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "planner/jobs/recovery_record.h"
#include "planner/runs/measure.h"
#include "planner/runs/run.h"
#include "planner/runs/shared_probes.h"
#include "planner/workspace/workspace.h"
#include "runtime/base/progress.h"
#include "runtime/eval/candidate_evaluator.h"
#include "runtime/eval/metrics.h"
#include "runtime/eval/probes.h"
#include "search/exact_fill.h"
#include "search/objective.h"
#include "search/problem.h"

namespace bitbudget {

// A search's result beside the best uniform assignment, on probes that neither was chosen on.
struct HeldOutComparison {
  struct Uniform {
    Format format;
    int64_t size_bytes = 0;  // of the whole model
    Metrics metrics;
    Interval fdt_difference;  // found - uniform, paired over probes
    Interval kl_difference;
    std::optional<TextDivergence> text;  // where HeldOutComparison has it
    Interval text_kl_difference;
    Evaluation evaluation;
  };

  int64_t probes = 0;
  Metrics found;          // of the search's result
  Evaluation evaluation;  // likewise
  Metrics noise_floor;
  // Of the search's result; none where prompts are too short (kTextPromptTokens).
  std::optional<TextDivergence> text_divergence;
  std::optional<Uniform> uniform;  // none: none fits, or everything is pinned
  bool uniform_emitted = false;    // the search's result did not win
  Assignment emitted;
  std::optional<TextPerplexity> text;  // of `emitted`, likewise
  // Of the search's result in the model's own weights and in the trained ones, where there are any.
  std::optional<RecoveryMeasurements> training;
};

// What the comparison works with. Nothing is owned.
struct HeldOutContext {
  const SearchProblem* problem = nullptr;
  Objective objective{Statistic::kFdtMean};
  const ProbeMaker* maker = nullptr;
  int64_t probes = 0;
  Workspace* workspace = nullptr;
  Run* run = nullptr;
  Progress* progress = nullptr;
  // What the search's result is made of; null: the model's weights, of which uniform assignments
  // always are.
  const TrainedWeights* trained = nullptr;
  // Of the problem, if the search had any (SearchContext::estimates).
  const CostTable* estimates = nullptr;
  // Whether a uniform assignment with this result may be emitted; empty: all may.
  std::function<bool(const Evaluation&)> acceptable = {};
};

// The best uniform assignment that meets the limit, chosen by `evaluator` on the search probes;
// none when none fits or everything is pinned. kCancelled on interruption.
absl::StatusOr<std::optional<Format>> BestUniform(const HeldOutContext& context,
                                                  CandidateEvaluator* evaluator);

// The probes that results are measured on, in a context's run.
class HeldOutProbes {
 public:
  // Errors as SharedProbes::Create; kCancelled on interruption.
  static absl::StatusOr<HeldOutProbes> Create(const HeldOutContext& context);

  SharedProbes* set() const { return set_.get(); }
  const Evaluation& noise_floor() const { return noise_floor_; }
  const Evaluation& reference() const { return reference_; }  // ReferenceRun::Own()

 private:
  std::unique_ptr<SharedProbes> set_;
  Evaluation noise_floor_;
  Evaluation reference_;
};

// Measures `found` and the uniform assignment of `uniform`, and decides which is emitted: the
// better one by the objective where the 95 % interval of the paired difference excludes zero, else
// by KL likewise (FDT needs far more probes to tell), else by the objective's own rule. Errors:
// those of the evaluations; kCancelled on interruption.
absl::StatusOr<HeldOutComparison> CompareHeldOut(const HeldOutContext& context,
                                                 const HeldOutProbes& probes,
                                                 const Assignment& found,
                                                 const std::optional<Format>& uniform);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_HELD_OUT_H_
