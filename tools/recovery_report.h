#ifndef BITBUDGET_TOOLS_RECOVERY_REPORT_H_
#define BITBUDGET_TOOLS_RECOVERY_REPORT_H_

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "planner/jobs/recover_job.h"
#include "plans/plan.pb.h"

// What the commands share that recover a plan.
namespace bitbudget {

// "blockwise,scales" as names of methods; a usage error that names `option` for an unknown one.
absl::StatusOr<std::vector<std::string>> ParseRecoveryMethods(absl::string_view option,
                                                              const std::string& text);

// The methods with their descriptions, for help texts.
std::string DescribeRecoveryMethods();

// RunRecoverJob with the process's progress. An interruption says from where the work resumes.
absl::StatusOr<RecoverReport> RunRecovery(const Model& model, const RecoverJobOptions& options);

// OK for a recovery that ended by itself, else what the command ends with.
absl::Status EndOf(const RecoverReport& report, const std::string& out);

// The last pass of a recovery whose plan was written to `out`. `steps`: of the pass, for their
// profiles; none where there are no profiles.
nlohmann::ordered_json RecoveryJson(const plans::Plan& plan,
                                    std::span<const RecoveryStep> steps,
                                    const std::string& out,
                                    double seconds);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_RECOVERY_REPORT_H_
