#ifndef BITBUDGET_PLANNER_JOBS_PLAN_JOB_H_
#define BITBUDGET_PLANNER_JOBS_PLAN_JOB_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/jobs/constraints.h"
#include "planner/jobs/footprint.h"
#include "planner/runs/communicator.h"
#include "planner/workspace/budget.h"
#include "planner/workspace/memory_plan.h"
#include "planner/workspace/options.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/eval/metrics.h"
#include "runtime/model/decoder/model.h"
#include "runtime/training/retraining.h"
#include "scoring/scorer.h"
#include "search/exact_fill.h"
#include "search/merit.h"
#include "search/problem.h"

namespace bitbudget {

struct PlanOptions {
  // What the plan must meet, and what a budget pays for.
  std::variant<Budget, SparsityGoal> limit;
  BudgetScope budget_scope;
  Constraints constraints;

  std::string search = "greedy";  // a name of search/methods.h
  std::string scorer = "lim";     // a name of scoring/registry.h, for methods that order layers
  // What methods predict candidates from: kOutputError, or a scorer that costs formats.
  static constexpr char kOutputError[] = "output-error";
  std::string costs = "kfac";
  // Of beam: how many states it keeps, and what it ranks them by.
  int beam_width = 10;
  MeritKind order = MeritKind::kFdt;
  // Embedding and head take part in a search for sparsity (method sparsify, or a sparsity goal).
  // Otherwise they keep their stored formats, as in the paper, unless a pin says otherwise.
  bool prunes_embeddings = false;
  // Of sparsify: training after every round. The plan is then a recovered one, whose codes are
  // written to a file beside `out`, where the caller writes the plan.
  std::optional<RetrainingSteps> retraining;
  std::string out;
  // Evaluate every candidate on all probes instead of predicting and screening.
  bool exhaustive = false;
  Statistic objective = Statistic::kFdtMean;

  WorkspaceOptions workspace;
  int64_t search_probes = 48;
  int64_t held_out_probes = 128;

  // Where the run keeps what it measures, so that it resumes after it ended in any way
  // (run_store.h); empty: nowhere. It does not change the plan.
  std::string run_dir;

  // The thousandths of zeros that are asked for; 0 for a budget.
  int SparsityPermille() const;

  // The scorer that gives the costs; null for output errors. REQUIRES: Validate() is OK.
  const Scorer* CostScorer() const;

  // kInvalidArgument, saying which option is wrong or which do not go together.
  absl::Status Validate() const;
};

// A prompt, and what the original model and a plan write after it, greedily, in tokens.
struct Continuation {
  std::vector<int32_t> prompt;
  std::vector<int32_t> reference;
  std::vector<int32_t> plan;
};

// What a plan job found beside the plan.
struct PlanOutcome {
  plans::Plan plan;
  Assignment assignment;  // the plan's
  Assignment found;       // the search's, which is not the plan's where uniform is no worse
  SearchProblem problem;
  // Estimated or measured costs that the search predicted from, by component and choice; or empty.
  CostTable costs;
  // On the held-out probes, of the plan, of what the search found and of the uniform assignment
  // beside it; empty where they were not measured.
  Evaluation evaluation;
  Evaluation found_evaluation;
  Evaluation uniform_evaluation;
  std::vector<Continuation> continuations;
};

// Searches for an assignment that meets the limit, compares it with the best uniform one on
// held-out probes, and returns the plan with its evidence. After an interruption the plan holds the
// best so far, with complete == false and without held-out metrics. The same model, options and
// seed give the same plan for any number of threads and ranks and any content of the run directory.
// All ranks call it alike and get the same plan; null `ranks`: this process alone. `memory`, unless
// null, is set to how memory was divided. Where the model fits the budget as it is stored, the plan
// says so, nothing is run (as_it_is.h) and `memory` stays as it was. Retraining takes a single
// rank. Errors: IsInfeasible()
// when nothing meets the limit; kResourceExhausted when memory does not suffice; kCancelled on an
// interruption before the search had begun; otherwise those of the parts.
absl::StatusOr<plans::Plan> RunPlanJob(const Model& model,
                                       const PlanOptions& options,
                                       Progress* progress,
                                       Communicator* ranks = nullptr,
                                       MemoryPlan* memory = nullptr);

// What several jobs do with their held-out probes beside comparing plans.
struct HeldOutExtras {
  int64_t continuations = 0;  // prompts that every plan continues
  // What else is measured: others' files of the model (CheckSameModel), and assignments.
  std::vector<std::variant<const Model*, Assignment>> others = {};
};

// Several of them, which share all work but their searches: the plans are those of RunPlanJob, byte
// for byte. After an interruption those that were begun. `others`, unless null, is set to the
// evaluations of extras.others, of which an interruption leaves the first ones.
// REQUIRES: options that differ in limit, search, scorer and costs only, and no retraining.
absl::StatusOr<std::vector<PlanOutcome>> RunPlanJobs(const Model& model,
                                                     std::span<const PlanOptions> jobs,
                                                     const HeldOutExtras& extras,
                                                     Progress* progress,
                                                     std::vector<Evaluation>* others = nullptr,
                                                     MemoryPlan* memory = nullptr);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLAN_JOB_H_
