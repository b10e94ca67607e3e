#include "plans/targets/target.h"

#include "plans/targets/profiles.h"
#include "runtime/base/known_names.h"

namespace bitbudget {

TargetModel ModelOfPlan(const plans::Plan& plan) {
  TargetModel model;
  model.architecture = plan.model().architecture();
  for (const plans::Component& c : plan.components()) {
    model.components.push_back({c.name(), c.kind(), c.layer(), c.rows(), c.cols()});
  }
  return model;
}

std::span<const TargetProfile* const> Targets() {
#define BITBUDGET_CALL_PROFILE(Name) internal::Name(),
  static const TargetProfile* const profiles[] = {
      BITBUDGET_TARGET_PROFILES(BITBUDGET_CALL_PROFILE)};
#undef BITBUDGET_CALL_PROFILE
  return profiles;
}

absl::StatusOr<const TargetProfile*> FindTarget(absl::string_view name) {
  for (const TargetProfile* target : Targets()) {
    if (target->name() == name) return target;
  }
  std::vector<absl::string_view> known;
  for (const TargetProfile* target : Targets()) known.push_back(target->name());
  return UnknownName("target", name, known);
}

}  // namespace bitbudget
