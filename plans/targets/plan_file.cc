#include "plans/targets/plan_file.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "plans/plan_io.h"
#include "plans/targets/target.h"
#include "plans/targets/units.h"
#include "plans/validate.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/read_file.h"
#include "runtime/base/status_macros.h"
#include "runtime/tensor/format.h"

namespace bitbudget {
namespace {

// What the target makes of the plan's uniform format, component by component. Where it cannot hold
// the format at all, the component must have been pinned, and its entry does not count.
std::vector<Format> UniformFormats(const plans::Plan& plan,
                                   const TargetProfile& target,
                                   const std::vector<TargetUnit>& units) {
  const Format uniform = *ParseFormat(plan.held_out().uniform_format());  // ValidatePlan
  std::vector<Format> formats(plan.components_size(), uniform);
  for (const TargetUnit& unit : units) {
    const absl::StatusOr<Format> resolved = target.Resolve(unit, uniform);
    if (!resolved.ok()) continue;
    for (const int part : unit.parts) formats[part] = *resolved;
  }
  return formats;
}

absl::Status CheckTarget(const plans::Plan& plan) {
  if (plan.options().target().empty()) return absl::OkStatus();
  const auto refuse = [](const absl::Status& status) {
    return absl::InvalidArgumentError(absl::StrCat("options.target: ", status.message()));
  };
  const absl::StatusOr<const TargetProfile*> target = FindTarget(plan.options().target());
  if (!target.ok()) return refuse(target.status());
  const auto planned = internal::UnitsOfPlan(**target, plan);
  if (!planned.ok()) return refuse(planned.status());
  if (plan.held_out().uniform_format().empty()) return absl::OkStatus();
  return CheckUniformSize(plan, UniformFormats(plan, **target, planned->units));
}

}  // namespace

absl::Status CheckPlan(const plans::Plan& plan) {
  BB_RETURN_IF_ERROR(ValidatePlan(plan));
  return CheckTarget(plan);
}

absl::StatusOr<plans::Plan> ParseCheckedPlan(absl::string_view contents, const std::string& name) {
  BB_ASSIGN_OR_RETURN(plans::Plan plan, ParsePlan(contents, name));
  const absl::Status loads = CheckTarget(plan);
  if (!loads.ok()) return absl::Status(loads.code(), absl::StrCat(name, ": ", loads.message()));
  return plan;
}

absl::StatusOr<plans::Plan> ReadPlan(const std::string& path) {
  BB_ASSIGN_OR_RETURN(const std::string contents, ReadFile(path, kMaxPlanBytes));
  return ParseCheckedPlan(contents, path);
}

absl::Status WritePlan(const plans::Plan& plan, const std::string& path) {
  const absl::Status valid = CheckPlan(plan);
  if (!valid.ok()) {
    return absl::Status(valid.code(), absl::StrCat(path, ": not written: ", valid.message()));
  }
  if (!absl::EndsWith(path, ".json")) return WriteFileAtomically(path, SerializePlan(plan));
  BB_ASSIGN_OR_RETURN(const std::string json, PlanToJson(plan));
  return WriteFileAtomically(path, json);
}

}  // namespace bitbudget
