#include <map>

#include "absl/strings/str_cat.h"
#include "plans/plan_io.h"
#include "plans/targets/format_lists.h"
#include "plans/targets/plan_file.h"
#include "plans/targets/profiles.h"
#include "plans/targets/units.h"
#include "runtime/base/status_macros.h"

// bitbudget itself, and programs that read its plans: docs/plan-format.md.
namespace bitbudget::internal {
namespace {

class Native : public TargetProfile {
 public:
  absl::string_view name() const override { return "native"; }
  absl::string_view summary() const override { return "the plan as JSON, for bitbudget's runtime"; }

  std::vector<Format> Formats() const override {
    return {SupportedFormats().begin(), SupportedFormats().end()};
  }
  bool HoldsSparse() const override { return true; }
  std::vector<Format> DefaultFormats() const override {
    return FormatsNamed({"onebit",
                         "int2-g128",
                         "int2z-g128",
                         "int2-g64",
                         "int2z-g64",
                         "int2z-g32",
                         "int3-g128",
                         "int3z-g128",
                         "int3-g64",
                         "int3z-g64",
                         "int3z-g32",
                         "int4-g128",
                         "int4z-g128",
                         "int4-g64",
                         "int4z-g64",
                         "int4-g32",
                         "int4z-g32",
                         "int8",
                         "int8-g32"});
  }
  bool ConvertsFloats() const override { return true; }

  std::vector<TargetUnit> Units(const TargetModel& model) const override {
    std::vector<TargetUnit> units = MakeUnits(model, Tie::kNothing);
    for (TargetUnit& unit : units) {
      unit.names = {model.components[unit.parts[0]].name};
      unit.name_rows = {unit.rows};
    }
    return units;
  }

  absl::StatusOr<Format> Resolve(const TargetUnit& unit, const Format& format) const override {
    if (Fits(format, unit.cols)) return format;
    return absl::InvalidArgumentError(absl::StrCat(unit.names[0],
                                                   " in ",
                                                   format.Name(),
                                                   ": rows of ",
                                                   unit.cols,
                                                   " are not whole blocks of ",
                                                   format.BlockSize()));
  }

  absl::StatusOr<Export> ExportPlan(const plans::Plan& plan,
                                    const std::string& path) const override {
    Export result;
    BB_ASSIGN_OR_RETURN(std::string text, PlanToJson(plan));
    result.files.push_back({path, std::move(text)});
    result.instructions = absl::StrCat("bitbudget eval MODEL --plan ", path);
    return result;
  }

  absl::StatusOr<FileReading> Read(absl::string_view contents,
                                   const std::string& path,
                                   const TargetModel& model) const override {
    BB_ASSIGN_OR_RETURN(const plans::Plan plan, ParseCheckedPlan(contents, path));
    std::map<std::string, const plans::Component*> components;
    for (const plans::Component& c : plan.components()) components[c.name()] = &c;
    FileReading file;
    file.readings = BlankReadings(Units(model), Names::kOwn);
    for (size_t i = 0; i < file.readings.size(); ++i) {
      Reading& reading = file.readings[i];
      const auto at = components.find(reading.name);
      if (at == components.end()) {
        reading.gets = "nothing";
        reading.problems.push_back("the plan has no such component");
        continue;
      }
      const plans::Component& c = *at->second;
      reading.rule = c.name();
      reading.gets = c.format();
      reading.format = *ParseFormat(c.format());
      if (c.rows() != model.components[i].rows || c.cols() != model.components[i].cols) {
        reading.problems.push_back(absl::StrCat("has another shape, ", c.rows(), " x ", c.cols()));
      }
      components.erase(at);
    }
    for (const auto& [name, unused] : components) file.unused.push_back(name);
    return file;
  }
};

}  // namespace

const TargetProfile* NativeProfile() { return TheOnly<Native>(); }

}  // namespace bitbudget::internal
