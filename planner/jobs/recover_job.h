#ifndef BITBUDGET_PLANNER_JOBS_RECOVER_JOB_H_
#define BITBUDGET_PLANNER_JOBS_RECOVER_JOB_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/workspace/options.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "runtime/training/recovery.h"

namespace bitbudget {

struct RecoverJobOptions {
  plans::Plan plan;  // to start from, recovered already or not
  std::vector<std::string> methods = {"blockwise"};
  RecoveryOptions training;  // its seed, threads and token_bits are those of `workspace`
  int64_t sequences = 64;    // to train on, an eighth of them kept aside
  int64_t held_out_probes = 128;
  std::string calibration;  // the text that the plan's encoder learned from, if any
  std::string out;          // the plan to write; its codes and the state go beside it
  // The plan's encoder and pruning replace those given here. The probes are the held-out ones that
  // the result is measured on, and what is trained on is as long as they are: windows of their text
  // with other roles, where they have one, and what the model writes itself.
  WorkspaceOptions workspace;

  // kInvalidArgument, saying which option is wrong.
  absl::Status Validate() const;
};

struct RecoverReport {
  plans::Plan plan;                 // as it was written
  std::vector<RecoveryStep> steps;  // of its last pass, with their profiles
  bool interrupted = false;         // the plan is the best that there was, and the state is kept
};

// Recovers a plan (runtime/training/recovery.h), measures it before and after on the same held-out
// probes, and writes it to `out` with its codes beside it. What it has reached is kept in a file
// there, so that the same job resumes with the same result after it ended in any way. Pinned and
// stored components stay as they are. Errors, before long work: a plan of another model, or one
// without codes; those of CheckRecovery. Later: those of the parts; kCancelled on an interruption
// before anything was gained.
absl::StatusOr<RecoverReport> RunRecoverJob(const Model& model,
                                            const RecoverJobOptions& options,
                                            Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_RECOVER_JOB_H_
