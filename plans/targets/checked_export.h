#ifndef BITBUDGET_PLANS_TARGETS_CHECKED_EXPORT_H_
#define BITBUDGET_PLANS_TARGETS_CHECKED_EXPORT_H_

#include <string>

#include "absl/status/statusor.h"
#include "plans/plan.pb.h"
#include "plans/targets/target.h"

namespace bitbudget {

// TargetProfile::ExportPlan, read again by the target's own rules (Lint) ahead of anything being
// written: kFailedPrecondition, naming the first matrix, where one would not get what the plan
// gives it.
absl::StatusOr<Export> CheckedExport(const TargetProfile& target,
                                     const plans::Plan& plan,
                                     const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_TARGETS_CHECKED_EXPORT_H_
