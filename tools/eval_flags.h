#ifndef BITBUDGET_TOOLS_EVAL_FLAGS_H_
#define BITBUDGET_TOOLS_EVAL_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/jobs/evaluate_job.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "tools/workspace_flags.h"

namespace bitbudget {

// What is measured and how, on the command line.
struct EvalFlags {
  WorkspaceFlags workspace;
  std::string plan;
  std::string candidate;
  std::string against;
  std::string calibration;
  std::string uniform;
  std::vector<std::string> pins;
  int64_t probe_count = EvaluateOptions().probe_count;
  bool fdt_only = false;
};

void AddEvalOptions(CLI::App* command, EvalFlags* flags);

// A usage error for an option that was given and has no effect.
absl::Status CheckEvalIdle(const CLI::App& command, const EvalFlags& flags);

// What is measured, read from where the flags say, and what that holds on to.
struct EvalSubject {
  EvaluateOptions options;
  std::string plan_path;
  std::unique_ptr<Model> candidate;
};
struct EvalSubjects {
  EvalSubject first;
  std::optional<EvalSubject> against;
};
// `plan`, unless null, is what stands in the file flags.plan.
absl::StatusOr<EvalSubjects> ReadEvalSubjects(const EvalFlags& flags,
                                              const plans::Plan* plan = nullptr);

struct EvalReports {
  EvaluateReport first;
  std::optional<EvaluateReport> against;
};
// Errors: those of RunEvaluateJob; kFailedPrecondition where the two cannot be paired.
absl::StatusOr<EvalReports> RunEvalFlags(const Model& model,
                                         const EvalFlags& flags,
                                         EvalSubjects* subjects,
                                         Progress* progress);

// What `eval --json` prints.
nlohmann::ordered_json EvalReportsJson(const EvalReports& reports, const EvalFlags& flags);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_EVAL_FLAGS_H_
