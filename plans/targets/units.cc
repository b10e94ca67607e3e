#include "plans/targets/units.h"

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace bitbudget::internal {
namespace {

absl::StatusOr<Format> UnitFormat(const TargetProfile& target,
                                  const TargetUnit& unit,
                                  const plans::Plan& plan) {
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
                                                     "; make the plan for target ",
                                                     target.name()));
    }
  }
  BB_ASSIGN_OR_RETURN(const Format format, ParseFormat(first.format()));
  if (format.IsFloat() && !first.encoder().empty() && !target.ConvertsFloats()) {
    return absl::InvalidArgumentError(absl::StrCat(first.name(),
                                                   ": ",
                                                   target.name(),
                                                   " leaves floats in the type that they are "
                                                   "stored in and cannot convert them to ",
                                                   first.format()));
  }
  BB_ASSIGN_OR_RETURN(const Format resolved, target.Resolve(unit, format));
  if (resolved == format) return format;
  return absl::InvalidArgumentError(absl::StrCat(first.name(),
                                                 ": rows of ",
                                                 unit.cols,
                                                 " are not whole blocks of ",
                                                 first.format(),
                                                 "; ",
                                                 target.name(),
                                                 " would take ",
                                                 resolved.Name(),
                                                 " instead, of another size"));
}

}  // namespace

Joined JoinedOf(const TargetComponent& c) {
  if (c.kind == "q" || c.kind == "k" || c.kind == "v") return Joined::kQkv;
  return c.kind == "gate" || c.kind == "up" ? Joined::kGateUp : Joined::kNone;
}

bool StoresJoined(const TargetModel& model) { return absl::StartsWith(model.architecture, "Phi3"); }

std::vector<TargetUnit> MakeUnits(const TargetModel& model, Tie tie) {
  std::vector<TargetUnit> units;
  for (size_t i = 0; i < model.components.size(); ++i) {
    const TargetComponent& c = model.components[i];
    bool joins = false;
    if (tie == Tie::kJoined && JoinedOf(c) != Joined::kNone && !units.empty()) {
      const TargetComponent& first = model.components[units.back().parts[0]];
      joins = first.layer == c.layer && JoinedOf(first) == JoinedOf(c);
    }
    if (!joins) units.emplace_back().cols = c.cols;
    units.back().parts.push_back(static_cast<int>(i));
    units.back().rows += c.rows;
  }
  return units;
}

absl::StatusOr<PlannedUnits> UnitsOfPlan(const TargetProfile& target, const plans::Plan& plan) {
  PlannedUnits planned;
  planned.model = ModelOfPlan(plan);
  planned.units = target.Units(planned.model);
  for (const TargetUnit& unit : planned.units) {
    BB_ASSIGN_OR_RETURN(const Format format, UnitFormat(target, unit, plan));
    planned.formats.push_back(format);
  }
  return planned;
}

std::vector<Reading> BlankReadings(const std::vector<TargetUnit>& units, Names names) {
  std::vector<Reading> readings;
  for (size_t u = 0; u < units.size(); ++u) {
    std::vector<std::string> all = units[u].names;
    if (names == Names::kOwnAndFused && !units[u].fused_name.empty()) {
      all.push_back(units[u].fused_name);
    }
    for (std::string& name : all) {
      Reading& reading = readings.emplace_back();
      reading.unit = static_cast<int>(u);
      reading.name = std::move(name);
    }
  }
  return readings;
}

}  // namespace bitbudget::internal
