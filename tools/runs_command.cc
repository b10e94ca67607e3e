#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "planner/runs/run_report.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"

namespace bitbudget {
namespace {

// The changes of a step as "name=format, ..."; nothing for a start, which changes everything.
std::string ChangesText(const RunReport& report, const TraceStep& step) {
  if (step.what == "start") return "";
  return absl::StrJoin(step.changes, ", ", [&](std::string* out, const ComponentFormat& change) {
    absl::StrAppend(out, report.components[change.component].name, "=", change.format.Name());
  });
}

std::string FormatsText(const Assignment& assignment) {
  return absl::StrJoin(
      assignment, ",", [](std::string* out, const Format& format) { out->append(format.Name()); });
}

nlohmann::ordered_json ReportJson(const RunReport& report) {
  nlohmann::ordered_json json;
  json["directory"] = report.directory;
  for (const IdentityField& field : report.identity) json["identity"][field.name] = field.value;
  json["components"] = report.components.size();
  json["search_probes"] = report.probes;
  json["candidates"] = report.candidates;
  json["results"] = report.results;
  json["jobs"] = nlohmann::ordered_json::array();
  for (const RunReport::Job& job : report.jobs) {
    nlohmann::ordered_json trace = nlohmann::ordered_json::array();
    for (const TraceStep& step : job.trace) {
      trace.push_back({{"what", step.what},
                       {"changes", ChangesText(report, step)},
                       {"size_bytes", step.size_bytes},
                       {"fdt_mean", step.fdt_mean},
                       {"dppl", step.dppl},
                       {"kl_mean", step.kl_mean},
                       {"text_kl", step.text_kl}});
    }
    json["jobs"].push_back({{"options", job.options}, {"state", job.state}, {"trace", trace}});
  }
  json["best"] = nlohmann::ordered_json::array();
  for (const MeasuredCandidate& candidate : report.best) {
    json["best"].push_back({{"size_bytes", candidate.size_bytes},
                            {"fdt_mean", candidate.fdt_mean},
                            {"kl_mean", candidate.kl_mean},
                            {"text_kl", candidate.text_kl},
                            {"loss", candidate.loss},
                            {"assignment", FormatsText(candidate.assignment)}});
  }
  json["alone"] = nlohmann::ordered_json::array();
  for (const MeasuredAlone& alone : report.alone) {
    json["alone"].push_back({{"component", report.components[alone.change.component].name},
                             {"format", alone.change.format.Name()},
                             {"size_bytes", alone.size_bytes},
                             {"loss", alone.loss}});
  }
  return json;
}

std::string ReportText(const RunReport& report) {
  std::string text = absl::StrCat(report.directory, "\n\n");
  for (const IdentityField& field : report.identity) {
    absl::StrAppendFormat(&text, "%-20s %s\n", field.name, field.value);
  }
  absl::StrAppendFormat(&text,
                        "\n%d candidates of %d components, %d results; %d search probes\n",
                        report.candidates,
                        report.components.size(),
                        report.results,
                        report.probes);
  for (const RunReport::Job& job : report.jobs) {
    absl::StrAppendFormat(&text, "\nplan %s: %s\n", job.options, job.state);
    for (const TraceStep& step : job.trace) {
      absl::StrAppendFormat(&text,
                            "  %-12s %12d bytes  FDT %7.2f  text KL %.6f  KL %.6f  %s\n",
                            step.what,
                            step.size_bytes,
                            step.fdt_mean,
                            step.text_kl,
                            step.kl_mean,
                            ChangesText(report, step));
    }
  }
  absl::StrAppend(&text, "\nbest by size (search probes)\n");
  for (const MeasuredCandidate& candidate : report.best) {
    absl::StrAppendFormat(&text,
                          "  %12d bytes  FDT %7.2f  text KL %.6f  KL %.6f\n",
                          candidate.size_bytes,
                          candidate.fdt_mean,
                          candidate.text_kl,
                          candidate.kl_mean);
  }
  absl::StrAppend(&text, "\ncomponents alone (search probes)\n");
  for (const MeasuredAlone& alone : report.alone) {
    absl::StrAppendFormat(&text,
                          "  %-44s %-12s %10d bytes  KL %.6f\n",
                          report.components[alone.change.component].name,
                          alone.change.format.Name(),
                          alone.size_bytes,
                          alone.loss);
  }
  return text;
}

absl::Status ShowRuns(const std::string& directory, bool json) {
  BB_ASSIGN_OR_RETURN(const std::vector<RunReport> reports, ReadRuns(directory));
  if (json) {
    nlohmann::ordered_json all;
    all["runs"] = nlohmann::ordered_json::array();
    for (const RunReport& report : reports) all["runs"].push_back(ReportJson(report));
    std::printf("%s\n", DumpJson(all, 2).c_str());
    return absl::OkStatus();
  }
  const std::string text =
      absl::StrJoin(reports, "\n", [](std::string* out, const RunReport& report) {
        out->append(ReportText(report));
      });
  std::printf("%s", text.c_str());
  return absl::OkStatus();
}

}  // namespace

void AddRunsCommand(CLI::App* app) {
  CLI::App* command = AddCommand(app, "runs", "Look into stored runs", {"runs show plan.pb.run"});
  command->require_subcommand(1);
  CLI::App* show = command->add_subcommand(
      "show", "Show the runs in a run directory and what they have measured");
  auto directory = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  show->add_option("DIR", *directory, "Run directory (plan --run-dir)")->required();
  show->add_flag("--json", *json, "Print it as JSON");
  SetBody(show, [directory, json] { return ShowRuns(*directory, *json); });
}

}  // namespace bitbudget
