#include "plans/targets/checked_export.h"

#include "absl/strings/str_cat.h"
#include "plans/targets/lint.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

absl::StatusOr<Export> CheckedExport(const TargetProfile& target,
                                     const plans::Plan& plan,
                                     const std::string& path) {
  absl::StatusOr<Export> result = target.ExportPlan(plan, path);
  if (!result.ok()) return result;
  const ExportedFile& file = result->files.front();
  BB_ASSIGN_OR_RETURN(const LintReport report,
                      Lint(target, file.contents, file.path, ModelOfPlan(plan), &plan));
  if (report.ok()) return result;
  std::string first = report.problems.empty() ? "" : report.problems.front();
  for (const LintReport::Line& line : report.lines) {
    if (first.empty() && !line.problems.empty()) {
      first = absl::StrCat(line.name, ": ", line.problems.front());
    }
  }
  const int more = report.problem_count() - 1;
  return absl::FailedPreconditionError(
      absl::StrCat(target.name(),
                   " would not do what the plan says: ",
                   first,
                   more > 0 ? absl::StrCat(" (and ", more, " more)") : ""));
}

}  // namespace bitbudget
