#include "plans/targets/target.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "plans/targets/profiles.h"
#include "runtime/base/status_macros.h"

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
  static const TargetProfile* const profiles[] = {internal::LlamaCppProfile(),
                                                  internal::IkLlamaProfile(),
                                                  internal::AutoRoundProfile(),
                                                  internal::GptqModelProfile(),
                                                  internal::CompressedTensorsProfile(),
                                                  internal::MlxProfile(),
                                                  internal::ModelOptProfile(),
                                                  internal::TorchAoProfile(),
                                                  internal::NativeProfile()};
  return profiles;
}

absl::StatusOr<const TargetProfile*> FindTarget(absl::string_view name) {
  for (const TargetProfile* target : Targets()) {
    if (target->name() == name) return target;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown target '",
      name,
      "'; known: ",
      absl::StrJoin(Targets(), ", ", [](std::string* out, const TargetProfile* target) {
        absl::StrAppend(out, target->name());
      })));
}

absl::StatusOr<std::vector<Format>> UnitFormats(const TargetProfile& target,
                                                const std::vector<TargetUnit>& units,
                                                const plans::Plan& plan) {
  std::vector<Format> formats;
  for (const TargetUnit& unit : units) {
    const plans::Component& first = plan.components(unit.parts[0]);
    for (const int part : unit.parts) {
      const plans::Component& c = plan.components(part);
      if (c.format() != first.format()) {
        return absl::InvalidArgumentError(absl::StrCat(target.name(),
                                                       " needs one format for ",
                                                       first.name(),
                                                       " and ",
                                                       c.name(),
                                                       ", but the plan has ",
                                                       first.format(),
                                                       " and ",
                                                       c.format(),
                                                       "; plan again with --target ",
                                                       target.name()));
      }
    }
    BB_ASSIGN_OR_RETURN(const Format format, ParseFormat(first.format()));
    if (format.IsFloat() && !first.encoder().empty() && !target.ConvertsFloats()) {
      return absl::InvalidArgumentError(absl::StrCat(first.name(),
                                                     ": ",
                                                     target.name(),
                                                     " leaves floats in the type that they are "
                                                     "stored in and cannot make ",
                                                     first.format(),
                                                     " of them"));
    }
    BB_ASSIGN_OR_RETURN(const Format resolved, target.Resolve(unit, format));
    if (resolved != format) {
      return absl::InvalidArgumentError(absl::StrCat(first.name(),
                                                     ": rows of ",
                                                     unit.cols,
                                                     " are no whole blocks of ",
                                                     first.format(),
                                                     "; ",
                                                     target.name(),
                                                     " would take ",
                                                     resolved.Name(),
                                                     " instead, of another size"));
    }
    formats.push_back(format);
  }
  return formats;
}

}  // namespace bitbudget
