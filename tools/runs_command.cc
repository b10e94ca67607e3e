#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "planner/runs/run_report.h"
#include "plans/text_table.h"
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

using Align = TextTable::Align;

// What was measured on search probes, as cells of a table.
std::vector<std::string> MeasuredHeader() { return {"bytes", "FDT", "text KL", "KL"}; }
std::vector<std::string> MeasuredCells(int64_t size_bytes, double fdt, double text_kl, double kl) {
  return {absl::StrCat(size_bytes),
          absl::StrFormat("%.2f", fdt),
          absl::StrFormat("%.6f", text_kl),
          absl::StrFormat("%.6f", kl)};
}

std::string TraceTable(const RunReport& report, const RunReport::Job& job) {
  TextTable table(
      {Align::kLeft, Align::kRight, Align::kRight, Align::kRight, Align::kRight, Align::kLeft});
  std::vector<std::string> header = MeasuredHeader();
  header.insert(header.begin(), "step");
  header.push_back("changes");
  if (!job.trace.empty()) table.AddRow(std::move(header));
  for (const TraceStep& step : job.trace) {
    std::vector<std::string> row =
        MeasuredCells(step.size_bytes, step.fdt_mean, step.text_kl, step.kl_mean);
    row.insert(row.begin(), step.what);
    row.push_back(ChangesText(report, step));
    table.AddRow(std::move(row));
  }
  return table.ToString(/*indent=*/2, OutputWidth());
}

std::string BestTable(const RunReport& report) {
  TextTable table({Align::kRight});
  if (!report.best.empty()) table.AddRow(MeasuredHeader());
  for (const MeasuredCandidate& candidate : report.best) {
    table.AddRow(MeasuredCells(
        candidate.size_bytes, candidate.fdt_mean, candidate.text_kl, candidate.kl_mean));
  }
  return table.ToString(/*indent=*/2, OutputWidth());
}

std::string AloneTable(const RunReport& report) {
  TextTable table({Align::kLeft, Align::kLeft, Align::kRight});
  if (!report.alone.empty()) table.AddRow({"component", "format", "bytes", "KL"});
  for (const MeasuredAlone& alone : report.alone) {
    table.AddRow({report.components[alone.change.component].name,
                  alone.change.format.Name(),
                  absl::StrCat(alone.size_bytes),
                  absl::StrFormat("%.6f", alone.loss)});
  }
  return table.ToString(/*indent=*/2, OutputWidth());
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
    absl::StrAppend(&text, TraceTable(report, job));
  }
  absl::StrAppend(&text, "\nbest by size (search probes)\n", BestTable(report));
  absl::StrAppend(&text, "\ncomponents alone (search probes)\n", AloneTable(report));
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
  PrintFitting(text);
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
