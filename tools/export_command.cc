#include <cstdio>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "plans/targets/plan_file.h"
#include "plans/targets/target.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/command_line.h"
#include "tools/existing_output.h"
#include "tools/export_files.h"

namespace bitbudget {
namespace {

absl::Status RunExport(const ExportFlags& flags) {
  BB_ASSIGN_OR_RETURN(const plans::Plan plan, ReadPlan(flags.plan));
  BB_ASSIGN_OR_RETURN(const WrittenExport written, WriteExport(plan, flags));
  for (const std::string& file : written.files) {
    std::fprintf(stderr, "written: %s\n", file.c_str());
  }
  if (!written.note.empty()) std::fprintf(stderr, "%s\n", written.note.c_str());
  std::printf("%s\n", written.instructions.c_str());
  return absl::OkStatus();
}

}  // namespace

void AddExportCommand(CLI::App* app) {
  CLI::App* command =
      AddCommand(app,
                 "export",
                 "Write a plan as another program's configuration",
                 {"export plan.pb -o rules.txt", "export plan.pb --to gptqmodel -o gptq.json"});
  std::string footer = absl::StrCat(command->get_footer(), "\nTargets:\n");
  for (const TargetProfile* target : Targets()) {
    absl::StrAppend(&footer, "  ", target->name(), ": ", target->summary(), "\n");
  }
  command->footer(footer);
  auto flags = std::make_shared<ExportFlags>();
  command->add_option("PLAN", flags->plan, "Plan file")->required();
  command->add_option(
      "--to", flags->target, absl::StrCat("Target, by default the plan's own: ", TargetNames()));
  command->add_option("-o,--out", flags->out, "File to write; a driver script goes beside it")
      ->required();
  AddForceOption(command, &flags->force);
  SetBody(command, [flags] { return RunExport(*flags); });
}

}  // namespace bitbudget
