#include "tools/export_files.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "plans/targets/checked_export.h"
#include "plans/targets/target.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/status_macros.h"
#include "tools/command.h"
#include "tools/existing_output.h"

namespace bitbudget {
namespace {

// What becomes of the codes of a recovered plan, which no configuration can hold.
std::string RecoveryNote(const ExportFlags& flags,
                         const TargetProfile& target,
                         const plans::Plan& plan) {
  if (target.name() == "native") {
    return absl::StrCat("note: the recovered codes lie in ",
                        RecoveredFileBeside(plan, flags.plan),
                        "; whoever runs the exported plan needs that file beside it");
  }
  return absl::StrCat("note: the recovered codes of ",
                      flags.plan,
                      " are not part of this export, whose reader chooses its own; bitbudget apply "
                      "writes files with them");
}

// The target that is asked for, or else the plan's own.
absl::StatusOr<const TargetProfile*> TargetOf(const ExportFlags& flags, const plans::Plan& plan) {
  if (flags.target.empty() && plan.options().target().empty()) {
    return UsageError(
        absl::InvalidArgumentError(absl::StrCat("--to is missing, and ",
                                                flags.plan.empty() ? "the plan" : flags.plan,
                                                " was made for no target; known are: ",
                                                TargetNames())));
  }
  const absl::StatusOr<const TargetProfile*> target =
      FindTarget(flags.target.empty() ? plan.options().target() : flags.target);
  if (!target.ok()) return UsageError(target.status());
  return target;
}

// What to do where a plan cannot be exported, or not as it is meant.
std::string Remedy(const TargetProfile& target, const plans::Plan& plan) {
  if (plan.options().target() == target.name()) return "";
  return absl::StrCat("; the plan was made for ",
                      plan.options().target().empty() ? "no target" : plan.options().target(),
                      ": bitbudget plan --target ",
                      target.name(),
                      " makes one that it can execute");
}

}  // namespace

absl::StatusOr<WrittenExport> WriteExport(const plans::Plan& plan, const ExportFlags& flags) {
  BB_ASSIGN_OR_RETURN(const TargetProfile* const target, TargetOf(flags, plan));
  const std::vector<std::string> reads = {flags.plan, RecoveredFileBeside(plan, flags.plan)};
  BB_RETURN_IF_ERROR(CheckOut({{"--out", flags.out}}, reads));
  absl::StatusOr<Export> result = CheckedExport(*target, plan, flags.out);
  if (!result.ok()) {
    return absl::Status(result.status().code(),
                        absl::StrCat(flags.plan.empty() ? "" : absl::StrCat(flags.plan, ": "),
                                     result.status().message(),
                                     Remedy(*target, plan)));
  }
  std::vector<OutputPath> writes;
  for (const ExportedFile& file : result->files) writes.push_back({"--out", file.path});
  BB_RETURN_IF_ERROR(CheckOut(writes, reads));
  // What stands beside an earlier export belongs to it.
  std::error_code error;
  const bool again = std::filesystem::exists(flags.out, error);
  for (const ExportedFile& file : result->files) {
    if (again && file.path != flags.out) continue;
    BB_RETURN_IF_ERROR(CheckExistingExport(file.path, plan, flags.force));
  }
  // What the others refer to comes first.
  WrittenExport written;
  for (const ExportedFile& file : result->files) {
    BB_RETURN_IF_ERROR(WriteFileAtomically(file.path, file.contents));
    written.files.push_back(file.path);
  }
  written.instructions = result->instructions;
  if (plan.has_recovery()) written.note = RecoveryNote(flags, *target, plan);
  return written;
}

}  // namespace bitbudget
