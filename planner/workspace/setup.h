#ifndef BITBUDGET_PLANNER_WORKSPACE_SETUP_H_
#define BITBUDGET_PLANNER_WORKSPACE_SETUP_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/workspace/memory_plan.h"
#include "planner/workspace/options.h"
#include "planner/workspace/workspace.h"
#include "runtime/eval/probes.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// What a job that runs probes needs of its workspace.
struct WorkspaceNeeds {
  std::vector<ProbeRole> roles;  // that must have probes
  int64_t search_probes = 0;     // of MemoryRequest, as are the next five
  int64_t held_out_probes = 0;
  int64_t calibration_probes = 0;
  int64_t gradient_probes = 0;
  int64_t gradient_formats = 0;
  bool fdt_only = false;
  int64_t min_context = 1;  // positions that are run besides the probes'
  // Evaluators that keep streams of the search probes at the same time; each gets its share.
  int evaluators = 1;
};

// A model ready to run on probes.
struct ProbedWorkspace {
  std::unique_ptr<ProbeMaker> maker;
  MemoryPlan memory;  // as divided, before evaluators share the states
  std::unique_ptr<Workspace> workspace;
};

// Reads the probes' file, divides the memory and makes the workspace. The model outlives it.
// Errors: those of ProbeMaker, PlanMemory and Workspace::Create; no probes for one of the roles.
absl::StatusOr<ProbedWorkspace> SetUpWorkspace(const Model& model,
                                               const WorkspaceOptions& options,
                                               const WorkspaceNeeds& needs);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_WORKSPACE_SETUP_H_
