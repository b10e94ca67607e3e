#ifndef BITBUDGET_PLANNER_JOBS_PLAN_JOB_H_
#define BITBUDGET_PLANNER_JOBS_PLAN_JOB_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "planner/jobs/constraints.h"
#include "planner/jobs/footprint.h"
#include "planner/runs/communicator.h"
#include "planner/workspace/budget.h"
#include "planner/workspace/memory_plan.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/eval/metrics.h"
#include "runtime/eval/probes.h"
#include "runtime/model/decoder/model.h"
#include "runtime/model/decoder/weights.h"
#include "runtime/quantize/pruning.h"
#include "search/merit.h"

namespace bitbudget {

struct PlanOptions {
  Budget budget;
  BudgetScope budget_scope;
  Constraints constraints;
  // As the user wrote them, for the plan's record.
  std::vector<std::string> pin_texts, min_bits_texts;

  // greedy, additive, layerwise, uniform, random, beam, sparsify
  std::string search = "greedy";
  std::string scorer = "lim";  // lim, zd, signal: the order of layerwise
  // Of beam: states that are kept, and what they are ranked by.
  int beam_width = 10;
  MeritKind order = MeritKind::kFdt;
  // Of sparsify and uniform, a target in place of a budget: how many of a thousand weights of the
  // components that are not pinned are zeros. 0: none; the budget counts.
  int sparsity_permille = 0;
  // Embedding and head take part in a search for sparsity (sparsify, or a target of zeros); else
  // they keep their stored formats, as in the paper, unless a pin says otherwise.
  bool prunes_embeddings = false;
  // greedy, additive and beam run every candidate that they consider on all probes, instead of
  // screening and predicting.
  bool exhaustive = false;
  Statistic objective = Statistic::kFdtMean;
  std::string encoder = "clip";
  Pruning pruning = Pruning::kMagnitude;  // of sparse formats
  Activations activations = Activations::kInt16;

  ProbeOptions probes;
  int64_t search_probes = 48;
  int64_t held_out_probes = 128;
  int threads = 1;
  int64_t memory_bytes = DefaultMemoryLimit();
  // Where encodings go that memory has no room for.
  std::string spill_directory = "/tmp";

  // Where the run keeps what it measures, to go on from after it was ended in any way
  // (run_store.h); empty: nowhere. It has no influence on the plan.
  std::string run_dir;

  absl::Status Validate() const;
};

// Searches for an assignment within the budget, compares it with the best uniform one on held-out
// probes, and returns the plan with its evidence (complete == false after an interruption, then
// without held-out metrics). The same model, options and seed give the same plan for any number of
// threads and ranks, and whatever a run directory held. All ranks call it alike and get the same;
// null: this process alone. Errors: IsInfeasible() when no assignment fits; kCancelled when
// interrupted before the search began; else as the parts'.
// `memory`, where not null, gets how memory was divided (kResourceExhausted: it cannot be).
absl::StatusOr<plans::Plan> RunPlanJob(const Model& model,
                                       const PlanOptions& options,
                                       Progress* progress,
                                       Communicator* ranks = nullptr,
                                       MemoryPlan* memory = nullptr);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLAN_JOB_H_
