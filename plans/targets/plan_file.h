#ifndef BITBUDGET_PLANS_TARGETS_PLAN_FILE_H_
#define BITBUDGET_PLANS_TARGETS_PLAN_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "plans/plan.pb.h"

namespace bitbudget {

// ValidatePlan, and the plan's target can load what it says. kInvalidArgument names the field.
absl::Status CheckPlan(const plans::Plan& plan);

// ParsePlan and CheckPlan. Errors are one line that names `name` and the field.
absl::StatusOr<plans::Plan> ParseCheckedPlan(absl::string_view contents, const std::string& name);

// The plan in a file, ready for use: ParseCheckedPlan of its contents.
absl::StatusOr<plans::Plan> ReadPlan(const std::string& path);

// CheckPlan, then writes the file atomically: JSON when its name ends in .json, else binary.
absl::Status WritePlan(const plans::Plan& plan, const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_TARGETS_PLAN_FILE_H_
