#ifndef BITBUDGET_TOOLS_EXPORT_FILES_H_
#define BITBUDGET_TOOLS_EXPORT_FILES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "plans/plan.pb.h"

namespace bitbudget {

struct ExportFlags {
  std::string plan;    // the file of the plan; empty: none
  std::string target;  // empty: the plan's own
  std::string out;
  bool force = false;
};

struct WrittenExport {
  std::vector<std::string> files;  // the configuration first
  std::string instructions;        // how to run the target with them
  std::string note;                // on what the export does not hold; or empty
};

// Writes a target's configuration and what goes beside it. What it writes is first read again by
// the target's rules: every matrix must get what the plan gives it. `plan` is what stands in
// flags.plan. Errors: usage errors for target and output; kFailedPrecondition where the target
// would not do what the plan says.
absl::StatusOr<WrittenExport> WriteExport(const plans::Plan& plan, const ExportFlags& flags);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_EXPORT_FILES_H_
