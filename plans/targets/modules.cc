#include "plans/targets/modules.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "plans/targets/format_lists.h"
#include "runtime/base/status_macros.h"

namespace bitbudget::internal {
namespace {

// "model.layers.0.self_attn.q_proj" as "model.layers.0.self_attn." + "qkv_proj".
std::string JoinedName(const TargetComponent& c) {
  const size_t dot = c.name.rfind('.');
  return absl::StrCat(c.name.substr(0, dot == std::string::npos ? 0 : dot + 1),
                      JoinedOf(c) == Joined::kQkv ? "qkv_proj" : "gate_up_proj");
}

}  // namespace

std::vector<Format> ModuleProfile::Formats() const {
  std::vector<Format> formats = FormatsNamed({"bf16", "f16", "f32"});
  for (const Format& format : QuantizedFormats()) formats.push_back(format);
  return formats;
}

std::vector<Format> ModuleProfile::DefaultFormats() const { return QuantizedFormats(); }

std::vector<TargetUnit> ModuleProfile::Units(const TargetModel& model) const {
  const bool stored_joined = StoresJoined(model);
  std::vector<TargetUnit> units =
      MakeUnits(model, stored_joined || rules_.loader_joins ? Tie::kJoined : Tie::kNothing);
  for (TargetUnit& unit : units) {
    const TargetComponent& first = model.components[unit.parts[0]];
    const bool joined = JoinedOf(first) != Joined::kNone;
    if (joined && stored_joined) {
      unit.names = {JoinedName(first)};
      unit.name_rows = {unit.rows};
    } else {
      for (const int part : unit.parts) {
        unit.names.push_back(model.components[part].name);
        unit.name_rows.push_back(model.components[part].rows);
      }
      if (joined && rules_.loader_joins) unit.fused_name = JoinedName(first);
    }
    unit.never_quantized = (first.kind == "embed" && !rules_.quantizes_embedding) ||
                           (first.kind == "head" && !rules_.quantizes_head);
  }
  return units;
}

absl::StatusOr<Format> ModuleProfile::Resolve(const TargetUnit& unit, const Format& format) const {
  if (format.IsFloat()) return format;
  const std::vector<Format> formats = QuantizedFormats();
  const std::string what = absl::StrCat(unit.names[0], " in ", format.Name(), ": ", name());
  if (std::find(formats.begin(), formats.end(), format) == formats.end()) {
    return absl::InvalidArgumentError(absl::StrCat(what, " has no such format"));
  }
  if (unit.never_quantized) {
    return absl::InvalidArgumentError(absl::StrCat(what, " does not quantize this module"));
  }
  const int64_t group = format.GroupSize(unit.cols);
  if (unit.cols % group != 0 || unit.cols % rules_.cols_multiple != 0) {
    return absl::InvalidArgumentError(absl::StrCat(what,
                                                   " needs a number of inputs that ",
                                                   std::max(group, rules_.cols_multiple),
                                                   " divides, and this has ",
                                                   unit.cols));
  }
  const auto check_rows = [&](int64_t rows, int64_t multiple, const char* of) {
    if (rows % multiple == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(what,
                                                   " needs a number of outputs",
                                                   of,
                                                   " that ",
                                                   multiple,
                                                   " divides, and this has ",
                                                   rows));
  };
  for (const int64_t rows : unit.name_rows) {
    BB_RETURN_IF_ERROR(check_rows(rows, rules_.rows_multiple, ""));
  }
  BB_RETURN_IF_ERROR(
      check_rows(unit.rows, rules_.joined_rows_multiple, " (of all that is joined)"));
  return format;
}

absl::StatusOr<Export> ModuleProfile::ExportPlan(const plans::Plan& plan,
                                                 const std::string& path) const {
  BB_ASSIGN_OR_RETURN(const PlannedUnits planned, UnitsOfPlan(*this, plan));
  return ExportUnits(planned, path);
}

absl::StatusOr<FileReading> ModuleProfile::Read(absl::string_view contents,
                                                const std::string& path,
                                                const TargetModel& model) const {
  BB_ASSIGN_OR_RETURN(const Json config, ParseJsonObject(contents, path));
  ModuleFile file{path, model, Units(model), {}};
  file.reading.readings =
      BlankReadings(file.units, rules_.asks_fused_names ? Names::kOwnAndFused : Names::kOwn);
  BB_RETURN_IF_ERROR(ReadConfig(config, &file));
  return std::move(file.reading);
}

}  // namespace bitbudget::internal
