#include "tools/plan_preview_report.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "plans/fit_lines.h"
#include "tools/command.h"
#include "tools/progress_bar.h"

namespace bitbudget {
namespace {

std::string FormatNames(const std::vector<Format>& formats) {
  return absl::StrJoin(formats, ", ", [](std::string* out, const Format& format) {
    absl::StrAppend(out, format.Name());
  });
}

// In the order in which they come first.
std::vector<int64_t> Distinct(const std::vector<int64_t>& values) {
  std::vector<int64_t> distinct;
  for (const int64_t value : values) {
    if (std::find(distinct.begin(), distinct.end(), value) == distinct.end()) {
      distinct.push_back(value);
    }
  }
  return distinct;
}

}  // namespace

std::string RenderPreview(const PlanPreview& preview) {
  std::string text = absl::StrFormat("%-22s%8s%10s\n", "stage", "passes", "time");
  const auto row = [&](absl::string_view name, double passes, bool limit) {
    absl::StrAppendFormat(&text,
                          "%-22s%8.1f%10s%s\n",
                          name,
                          passes,
                          FormatDuration(passes * preview.pass_seconds),
                          limit ? "  at most" : "");
  };
  for (const WorkStage& stage : preview.work.stages) {
    row(stage.name, stage.passes(), stage.limit());
  }
  row("all", preview.work.passes(), true);
  absl::StrAppendFormat(&text,
                        "\nA pass runs a candidate on all search probes: %.3g s. Times are "
                        "estimates from a short\nmeasurement of this machine, as if nothing were "
                        "stored.\n\n%s\n",
                        preview.pass_seconds,
                        preview.memory.Describe());
  absl::StrAppend(&text,
                  "problem: ",
                  preview.free_units,
                  " units to choose for of ",
                  preview.units,
                  ", among ",
                  FormatNames(preview.formats),
                  "\n");
  for (const std::string& note : preview.notes) absl::StrAppend(&text, note, "\n");
  if (!preview.budget_bytes.empty()) {
    absl::StrAppend(&text,
                    preview.budget_bytes.size() == 1 ? "budget: " : "budgets: ",
                    absl::StrJoin(Distinct(preview.budget_bytes), ", "),
                    " bytes of weights; feasible, the smallest choices take ",
                    preview.smallest_bytes,
                    "\n");
  } else {
    absl::StrAppend(&text, "the share of zeros is feasible\n");
  }
  return FitLines(text, OutputWidth(), /*hang=*/2);
}

nlohmann::ordered_json PreviewJson(const PlanPreview& preview) {
  nlohmann::ordered_json json;
  json["stages"] = nlohmann::ordered_json::array();
  for (const WorkStage& stage : preview.work.stages) {
    json["stages"].push_back({{"name", stage.name},
                              {"passes", stage.passes()},
                              {"seconds", stage.passes() * preview.pass_seconds},
                              {"at_most", stage.limit()}});
  }
  json["passes"] = preview.work.passes();
  json["seconds"] = preview.work.passes() * preview.pass_seconds;
  json["memory"] = MemoryJson(preview.memory);
  nlohmann::ordered_json formats = nlohmann::ordered_json::array();
  for (const Format& format : preview.formats) formats.push_back(format.Name());
  json["problem"] = {{"units", preview.units},
                     {"free_units", preview.free_units},
                     {"formats", formats},
                     {"smallest_bytes", preview.smallest_bytes},
                     {"budget_bytes", nullptr},
                     {"notes", preview.notes},
                     {"feasible", true}};
  if (!preview.budget_bytes.empty()) json["problem"]["budget_bytes"] = preview.budget_bytes[0];
  return json;
}

}  // namespace bitbudget
