#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "planner/runs/run_report.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"

namespace bitbudget {
namespace {

nlohmann::ordered_json ReportJson(const RunReport& report) {
  nlohmann::ordered_json json;
  for (const IdentityField& field : report.identity) json["identity"][field.name] = field.value;
  json["components"] = report.components;
  json["search_probes"] = report.probes;
  json["candidates"] = report.candidates;
  json["results"] = report.results;
  json["jobs"] = nlohmann::ordered_json::array();
  for (const RunReport::Job& job : report.jobs) {
    nlohmann::ordered_json trace = nlohmann::ordered_json::array();
    for (const StoredMove& move : job.moves) {
      trace.push_back({{"what", move.what},
                       {"changes", move.changes},
                       {"size_bytes", move.size_bytes},
                       {"fdt_mean", move.fdt_mean},
                       {"dppl", move.dppl},
                       {"kl_mean", move.kl_mean}});
    }
    json["jobs"].push_back({{"options", job.options}, {"state", job.state}, {"trace", trace}});
  }
  json["best"] = nlohmann::ordered_json::array();
  for (const MeasuredCandidate& candidate : report.best) {
    json["best"].push_back({{"size_bytes", candidate.size_bytes},
                            {"fdt_mean", candidate.fdt_mean},
                            {"kl_mean", candidate.kl_mean},
                            {"assignment", candidate.assignment}});
  }
  json["alone"] = nlohmann::ordered_json::array();
  for (const MeasuredAlone& alone : report.alone) {
    json["alone"].push_back({{"component", alone.component},
                             {"format", alone.format},
                             {"size_bytes", alone.size_bytes},
                             {"kl_mean", alone.kl_mean}});
  }
  return json;
}

std::string ReportText(const RunReport& report) {
  std::string text;
  for (const IdentityField& field : report.identity) {
    absl::StrAppendFormat(&text, "%-20s %s\n", field.name, field.value);
  }
  absl::StrAppendFormat(&text,
                        "\n%d candidates of %d components, %d results; %d search probes\n",
                        report.candidates,
                        report.components,
                        report.results,
                        report.probes);
  for (const RunReport::Job& job : report.jobs) {
    absl::StrAppendFormat(&text, "\nplan %s: %s\n", job.options, job.state);
    for (const StoredMove& move : job.moves) {
      absl::StrAppendFormat(&text,
                            "  %-12s %12d bytes  FDT %7.2f  KL %.6f  %s\n",
                            move.what,
                            move.size_bytes,
                            move.fdt_mean,
                            move.kl_mean,
                            move.changes);
    }
  }
  absl::StrAppend(&text, "\nbest by size (search probes)\n");
  for (const MeasuredCandidate& candidate : report.best) {
    absl::StrAppendFormat(&text,
                          "  %12d bytes  FDT %7.2f  KL %.6f\n",
                          candidate.size_bytes,
                          candidate.fdt_mean,
                          candidate.kl_mean);
  }
  absl::StrAppend(&text, "\ncomponents alone (search probes)\n");
  for (const MeasuredAlone& alone : report.alone) {
    absl::StrAppendFormat(&text,
                          "  %-44s %-12s %10d bytes  KL %.6f\n",
                          alone.component,
                          alone.format,
                          alone.size_bytes,
                          alone.kl_mean);
  }
  return text;
}

absl::Status ShowRun(const std::string& directory, bool json) {
  BB_ASSIGN_OR_RETURN(const RunReport report, ReadRun(directory));
  std::printf(
      "%s",
      json ? absl::StrCat(ReportJson(report).dump(2), "\n").c_str() : ReportText(report).c_str());
  return absl::OkStatus();
}

}  // namespace

void AddRunsCommand(CLI::App* app) {
  CLI::App* command = app->add_subcommand("runs", "Look into what runs have measured");
  command->require_subcommand(1);
  CLI::App* show = command->add_subcommand("show", "Show what a run directory holds");
  auto directory = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  show->add_option("DIR", *directory, "Run directory (plan --run-dir)")->required();
  show->add_flag("--json", *json, "Print it as JSON");
  SetBody(show, [directory, json] { return ShowRun(*directory, *json); });
}

}  // namespace bitbudget
