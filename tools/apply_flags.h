#ifndef BITBUDGET_TOOLS_APPLY_FLAGS_H_
#define BITBUDGET_TOOLS_APPLY_FLAGS_H_

#include <CLI/CLI.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/jobs/apply_job.h"
#include "plans/plan.pb.h"
#include "tools/workspace_flags.h"

namespace bitbudget {

// What is written of a plan's model, on the command line.
struct ApplyFlags {
  WorkspaceFlags workspace;
  std::string out;
  std::string calibration;
  std::string weights = "dequantized";
  std::string dtype;
  bool force = false;
};

// All but `out`.
void AddApplyOptions(CLI::App* command, ApplyFlags* flags);

// Whether `out` can be written (CheckOut, CheckExisting). The plan was read from `plan_path`;
// empty: from no file.
absl::Status CheckApplyOut(const ApplyFlags& flags,
                           const plans::Plan& plan,
                           const std::string& plan_path);

// The options of the job; an error names the flag that is wrong.
absl::StatusOr<ApplyOptions> ApplyOptionsOf(const ApplyFlags& flags,
                                            const plans::Plan& plan,
                                            const std::string& plan_path);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_APPLY_FLAGS_H_
