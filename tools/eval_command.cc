#include <cstdio>
#include <memory>
#include <string>

#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/eval_flags.h"
#include "tools/eval_report.h"

namespace bitbudget {
namespace {

absl::Status RunEval(const CLI::App& command, const EvalFlags& flags, bool json) {
  BB_RETURN_IF_ERROR(CheckEvalIdle(command, flags));
  BB_ASSIGN_OR_RETURN(EvalSubjects subjects, ReadEvalSubjects(flags));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, flags.workspace.LoadModel());
  BB_ASSIGN_OR_RETURN(const EvalReports reports,
                      RunEvalFlags(*model, flags, &subjects, ProcessProgress()));
  if (json) {
    std::printf("%s\n", DumpJson(EvalReportsJson(reports, flags), 2).c_str());
    return absl::OkStatus();
  }
  PrintEval(reports.first, flags.fdt_only);
  if (!reports.against.has_value()) return absl::OkStatus();
  std::printf("\n%s:\n", flags.against.c_str());
  PrintEval(*reports.against, flags.fdt_only);
  std::printf("\n");
  const std::string& file = flags.plan.empty() ? flags.candidate : flags.plan;
  PrintDifferences(
      reports.first, file.empty() ? "the first" : file, *reports.against, flags.against);
  return absl::OkStatus();
}

}  // namespace

void AddEvalCommand(CLI::App* app) {
  CLI::App* command =
      AddCommand(app,
                 "eval",
                 "Measure a plan, a uniform format or a file on held-out probes and text",
                 {"eval MODEL --plan plan.pb -t book.txt",
                  "eval MODEL --uniform int4-g64",
                  "eval MODEL --candidate other.gguf -t book.txt",
                  "eval MODEL --plan plan.pb --against other.gguf"});
  auto flags = std::make_shared<EvalFlags>();
  auto json = std::make_shared<bool>(false);
  AddEvalOptions(command, flags.get());
  Heading(command, "Output");
  command->add_flag("--json", *json, "Print the result as JSON, with every probe");
  SetBody(command, [command, flags, json] { return RunEval(*command, *flags, *json); });
}

}  // namespace bitbudget
