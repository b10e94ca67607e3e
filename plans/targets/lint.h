#ifndef BITBUDGET_PLANS_TARGETS_LINT_H_
#define BITBUDGET_PLANS_TARGETS_LINT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "plans/plan.pb.h"
#include "plans/targets/target.h"

namespace bitbudget {

// What a consumer makes of a file, compared with what was meant.
struct LintReport {
  struct Line {
    std::vector<std::string> components;  // that the name stands for
    std::string name;                     // the consumer's
    std::string rule;                     // that decides; empty: none does
    std::string gets;                     // in words
    std::string meant;                    // format name; empty without a plan
    std::vector<std::string> problems;
  };
  std::string target;
  std::string path;
  std::vector<Line> lines;            // every name, in execution order
  std::vector<std::string> problems;  // of the file as a whole
  std::vector<std::string> unused;    // rules that match no name: odd, but no error

  int problem_count() const;
  bool ok() const { return problem_count() == 0; }
};

// Reads a file by the target's rules and compares it with `plan`. Without one (null) it reports
// only what is wrong whatever was meant. kInvalidArgument where the consumer would refuse the file
// or the plan is for a model with other components.
absl::StatusOr<LintReport> Lint(const TargetProfile& target,
                                absl::string_view contents,
                                const std::string& path,
                                const TargetModel& model,
                                const plans::Plan* plan);

// For people: the verdict, the problems, and which names get what.
std::string RenderLint(const LintReport& report);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_TARGETS_LINT_H_
