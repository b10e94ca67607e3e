#include "plans/targets/lint.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "plans/text_table.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// One wrong rule can concern every layer.
constexpr int kLinesShown = 20;

absl::Status CheckSameModel(const TargetModel& model, const plans::Plan& plan) {
  bool same = static_cast<int>(model.components.size()) == plan.components_size();
  for (int i = 0; same && i < plan.components_size(); ++i) {
    const plans::Component& c = plan.components(i);
    const TargetComponent& own = model.components[i];
    same = c.name() == own.name && c.rows() == own.rows && c.cols() == own.cols;
  }
  if (same) return absl::OkStatus();
  return absl::InvalidArgumentError("the plan is for a model with other components");
}

// What the component was meant to get, if the name gets something else; empty: it gets that.
std::string Deviation(const TargetProfile& target,
                      const Reading& reading,
                      const plans::Component& c) {
  const Format meant = *ParseFormat(c.format());  // the plan is valid
  const bool keeps = meant.IsFloat() && c.encoder().empty();
  if (reading.kept ? keeps : reading.format == meant) return "";
  // A consumer that converts no floats can only leave them as stored.
  const std::string name = target.ConvertsFloats() || !keeps ? c.format() : "as stored";
  return absl::StrCat("meant: ", name);
}

}  // namespace

int LintReport::problem_count() const {
  size_t count = problems.size();
  for (const Line& line : lines) count += line.problems.size();
  return static_cast<int>(count);
}

absl::StatusOr<LintReport> Lint(const TargetProfile& target,
                                absl::string_view contents,
                                const std::string& path,
                                const TargetModel& model,
                                const plans::Plan* plan) {
  if (plan != nullptr) BB_RETURN_IF_ERROR(CheckSameModel(model, *plan));
  BB_ASSIGN_OR_RETURN(FileReading file, target.Read(contents, path, model));
  const std::vector<TargetUnit> units = target.Units(model);
  LintReport report;
  report.target = std::string(target.name());
  report.path = path;
  report.problems = std::move(file.problems);
  report.unused = std::move(file.unused);
  std::map<int, const Reading*> first_of_unit;
  for (Reading& reading : file.readings) {
    const TargetUnit& unit = units[reading.unit];
    LintReport::Line& line = report.lines.emplace_back();
    line.name = reading.name;
    line.rule = reading.rule;
    line.gets = reading.gets;
    line.problems = std::move(reading.problems);
    // A name stands for its own part or for all parts.
    const auto own = std::find(unit.names.begin(), unit.names.end(), reading.name);
    std::vector<int> parts = unit.parts;
    if (own != unit.names.end() && unit.names.size() > 1) {
      parts = {unit.parts[own - unit.names.begin()]};
    }
    for (const int part : parts) {
      line.components.push_back(model.components[part].name);
      if (plan == nullptr) continue;
      const plans::Component& c = plan->components(part);
      if (line.meant.empty()) line.meant = c.format();
      const std::string deviation = Deviation(target, reading, c);
      if (!deviation.empty()) line.problems.push_back(absl::StrCat(deviation, " (", c.name(), ")"));
    }
    // A loader that joins modules wants one scheme for them.
    const auto [first, added] = first_of_unit.insert({reading.unit, &reading});
    if (!added && (first->second->gets != reading.gets)) {
      line.problems.push_back(absl::StrCat(
          "loaded together with ", first->second->name, ", which gets ", first->second->gets));
    }
  }
  return report;
}

std::string RenderLint(const LintReport& report) {
  const int count = report.problem_count();
  std::string text = absl::StrCat(report.path, " for ", report.target, ": ");
  absl::StrAppend(&text, report.lines.size(), " names, ");
  const bool meant = !report.lines.empty() && !report.lines[0].meant.empty();
  if (count == 0) {
    absl::StrAppend(&text, meant ? "each gets what was meant\n" : "each decided once\n");
  } else {
    absl::StrAppend(&text, count, count == 1 ? " PROBLEM\n" : " PROBLEMS\n");
  }
  for (const std::string& problem : report.problems) absl::StrAppend(&text, "  ", problem, "\n");
  int shown = 0, hidden = 0;
  for (const LintReport::Line& line : report.lines) {
    if (line.problems.empty()) continue;
    if (shown++ >= kLinesShown) {
      ++hidden;
      continue;
    }
    absl::StrAppend(&text, "  ", line.name, " gets ", line.gets);
    if (!line.rule.empty()) absl::StrAppend(&text, " by ", line.rule);
    absl::StrAppend(&text, ": ", absl::StrJoin(line.problems, "; "), "\n");
  }
  if (hidden > 0)
    absl::StrAppend(&text, "  ... and ", hidden, " more names (the JSON report has all)\n");
  for (const std::string& rule : report.unused) {
    absl::StrAppend(&text, "  note: matches nothing: ", rule, "\n");
  }
  struct Use {
    int names = 0;
    std::string first, last;
  };
  std::map<std::string, Use> uses;
  for (const LintReport::Line& line : report.lines) {
    Use& use = uses[line.gets];
    if (use.names++ == 0) use.first = line.name;
    use.last = line.name;
  }
  using Align = TextTable::Align;
  TextTable table({Align::kLeft, Align::kRight, Align::kLeft});
  for (const auto& [gets, use] : uses) {
    table.AddRow({gets,
                  absl::StrCat(use.names),
                  use.names == 1 ? use.first : absl::StrCat(use.first, " ... ", use.last)});
  }
  return text + table.ToString(/*indent=*/2);
}

}  // namespace bitbudget
