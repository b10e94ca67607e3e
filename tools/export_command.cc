#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "plans/targets/plan_file.h"
#include "plans/targets/target.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/existing_output.h"

namespace bitbudget {
namespace {

struct ExportFlags {
  std::string plan;
  std::string target;
  std::string out;
  bool force = false;
};

// What becomes of the codes of a recovered plan, which no configuration can hold.
std::string RecoveryNote(const ExportFlags& flags, const plans::Plan& plan) {
  if (flags.target == "native") {
    return absl::StrCat("note: the recovered codes lie in ",
                        RecoveredFileBeside(plan, flags.plan),
                        "; whoever runs the exported plan needs that file beside it");
  }
  return absl::StrCat("note: the recovered codes of ",
                      flags.plan,
                      " are not part of this export, whose reader chooses its own; bitbudget apply "
                      "writes files with them");
}

absl::Status RunExport(const ExportFlags& flags) {
  const absl::StatusOr<const TargetProfile*> target = FindTarget(flags.target);
  if (!target.ok()) return UsageError(target.status());
  BB_ASSIGN_OR_RETURN(const plans::Plan plan, ReadPlan(flags.plan));
  const std::vector<std::string> reads = {flags.plan, RecoveredFileBeside(plan, flags.plan)};
  BB_RETURN_IF_ERROR(CheckOut({{"--out", flags.out}}, reads));
  absl::StatusOr<Export> result = (*target)->ExportPlan(plan, flags.out);
  if (!result.ok()) {
    return absl::Status(result.status().code(),
                        absl::StrCat(flags.plan, ": ", result.status().message()));
  }
  std::vector<OutputPath> writes;
  for (const ExportedFile& file : result->files) writes.push_back({"--out", file.path});
  BB_RETURN_IF_ERROR(CheckOut(writes, reads));
  // What stands beside an earlier export belongs to it.
  const bool again = std::filesystem::exists(flags.out);
  for (const ExportedFile& file : result->files) {
    if (again && file.path != flags.out) continue;
    BB_RETURN_IF_ERROR(CheckExistingExport(file.path, plan, flags.force));
  }
  // What the others refer to comes first.
  for (const ExportedFile& file : result->files) {
    BB_RETURN_IF_ERROR(WriteFileAtomically(file.path, file.contents));
    std::fprintf(stderr, "written: %s\n", file.path.c_str());
  }
  if (plan.has_recovery()) std::fprintf(stderr, "%s\n", RecoveryNote(flags, plan).c_str());
  std::printf("%s\n", result->instructions.c_str());
  return absl::OkStatus();
}

}  // namespace

std::string TargetNames() {
  std::string names;
  for (const TargetProfile* target : Targets()) {
    absl::StrAppend(&names, names.empty() ? "" : ", ", target->name());
  }
  return names;
}

void AddExportCommand(CLI::App* app) {
  CLI::App* command =
      app->add_subcommand("export", "Write a plan as another program's configuration");
  std::string footer = "Targets:\n";
  for (const TargetProfile* target : Targets()) {
    absl::StrAppend(&footer, "  ", target->name(), ": ", target->summary(), "\n");
  }
  command->footer(footer);
  auto flags = std::make_shared<ExportFlags>();
  command->add_option("PLAN", flags->plan, "Plan file")->required();
  command->add_option("--to", flags->target, TargetNames())->required();
  command->add_option("--out", flags->out, "File to write; a driver script goes beside it")
      ->required();
  AddForceOption(command, &flags->force);
  SetBody(command, [flags] { return RunExport(*flags); });
}

}  // namespace bitbudget
