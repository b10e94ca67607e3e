#ifndef BITBUDGET_TOOLS_PLAN_FLAGS_H_
#define BITBUDGET_TOOLS_PLAN_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/jobs/plan_job.h"
#include "planner/runs/communicator.h"
#include "planner/workspace/memory_plan.h"
#include "planner/workspace/quality_goal.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "tools/workspace_flags.h"

namespace bitbudget {

// PlanOptions on the command line, and what the command plan does with the plan.
struct PlanFlags {
  WorkspaceFlags workspace;
  std::string budget;
  std::string sparsity;
  std::string goal;
  std::string out;
  bool force = false;
  std::string budget_for;
  std::optional<int64_t> context;
  std::string kv = "f16";
  std::string target;
  std::string formats;
  std::vector<std::string> pins;
  std::vector<std::string> min_bits;
  std::string search = PlanOptions().search;
  std::string scorer = PlanOptions().scorer;
  std::string costs = PlanOptions().costs;
  std::string order = MeritKindName(PlanOptions().order);
  int beam_width = PlanOptions().beam_width;
  bool prune_embeddings = false;
  std::string objective = StatisticName(PlanOptions().objective);
  int64_t search_probes = PlanOptions().search_probes;
  int64_t held_out_probes = PlanOptions().held_out_probes;
  bool exhaustive = false;
  std::string run_dir;  // empty: beside the plan
  bool no_run_dir = false;
  std::string recover;                 // methods; empty: none
  std::optional<std::string> retrain;  // "MASKED,UNMASKED"
  bool dry_run = false;
  bool json = false;
};

void AddPlanOptions(CLI::App* command, PlanFlags* flags);
// Parts of them: the limit, and what explore has as well, which is all but limit, output,
// retraining and recovery.
void AddLimitOptions(CLI::App* command, PlanFlags* flags);
void AddSharedPlanOptions(CLI::App* command, PlanFlags* flags);

// A usage error where --out is missing and something is to be written.
absl::Status CheckOutGiven(const PlanFlags& flags);

// A usage error for an option that was given and has no effect. `options`: PlanOptionsOf(flags).
absl::Status CheckPlanIdle(const CLI::App& command,
                           const PlanFlags& flags,
                           const PlanOptions& options);

// The options of the job; an error names the flag that is wrong. With a goal, they have no limit.
absl::StatusOr<PlanOptions> PlanOptionsOf(const PlanFlags& flags);
// The goal of quality; none where another limit is set.
absl::StatusOr<std::optional<QualityGoal>> GoalOf(const PlanFlags& flags);

// RunGoalJob or RunPlanJob, as the flags ask. `options`: PlanOptionsOf(flags).
absl::StatusOr<plans::Plan> RunPlanFlags(const Model& model,
                                         const PlanFlags& flags,
                                         const PlanOptions& options,
                                         Progress* progress,
                                         Communicator* ranks,
                                         MemoryPlan* memory);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_PLAN_FLAGS_H_
