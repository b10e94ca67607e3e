// The long calls of the library: each is a command's body with a callback for its progress.

#include <bitbudget/bitbudget.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <utility>

#include "planner/jobs/apply_job.h"
#include "planner/jobs/plan_job.h"
#include "planner/runs/communicator.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"
#include "tools/api/callback_progress.h"
#include "tools/api/parse.h"
#include "tools/apply_flags.h"
#include "tools/command.h"
#include "tools/eval_flags.h"
#include "tools/plan_flags.h"

namespace bitbudget::api {
namespace {

Measured ToMeasured(const bitbudget::Measured& measured) {
  return {measured.value, measured.interval.low, measured.interval.high};
}

absl::StatusOr<plans::Plan> RunFindPlan(const Model& model,
                                        const Options& options,
                                        bitbudget::Progress* progress) {
  CLI::App app;
  PlanFlags flags;
  AddLimitOptions(&app, &flags);
  AddSharedPlanOptions(&app, &flags);
  BB_RETURN_IF_ERROR(Parse(options, model.path(), &app));
  flags.no_run_dir = flags.run_dir.empty();
  absl::StatusOr<PlanOptions> job = PlanOptionsOf(flags);
  if (!job.ok()) return bitbudget::UsageError(job.status());
  BB_RETURN_IF_ERROR(CheckPlanIdle(app, flags, *job));
  std::vector<OutputPath> writes;
  AddRunStore(job->run_dir, &writes);
  BB_RETURN_IF_ERROR(CheckOut(writes, flags.workspace.Reads()));
  return RunPlanFlags(
      model.internal(), flags, *job, progress, /*ranks=*/nullptr, /*memory=*/nullptr);
}

// `plan`, unless null, is measured.
absl::StatusOr<Evaluation> RunEvaluate(const Model& model,
                                       const Plan* plan,
                                       const Options& options,
                                       bitbudget::Progress* progress) {
  CLI::App app;
  EvalFlags flags;
  AddEvalOptions(&app, &flags);
  BB_RETURN_IF_ERROR(Parse(options, model.path(), &app));
  if (plan != nullptr) {
    if (!flags.plan.empty() || !flags.uniform.empty() || !flags.candidate.empty()) {
      return bitbudget::UsageError(absl::InvalidArgumentError(
          "--plan, --uniform and --candidate do not go with a plan that is passed"));
    }
    flags.plan = plan->path().empty() ? "the plan" : plan->path();
  }
  BB_RETURN_IF_ERROR(CheckEvalIdle(app, flags));
  BB_ASSIGN_OR_RETURN(EvalSubjects subjects,
                      ReadEvalSubjects(flags, plan != nullptr ? &plan->internal() : nullptr));
  BB_ASSIGN_OR_RETURN(const EvalReports reports,
                      RunEvalFlags(model.internal(), flags, &subjects, progress));
  const EvaluateReport& report = reports.first;
  Evaluation evaluation;
  evaluation.size_bytes = report.size_bytes;
  evaluation.bits_per_weight = report.bits_per_weight;
  evaluation.fdt = ToMeasured(report.metrics.fdt_mean);
  if (!flags.fdt_only) {
    evaluation.kl = ToMeasured(report.metrics.kl_mean);
    evaluation.top1 = ToMeasured(report.metrics.top1);
  }
  if (report.text_divergence.has_value()) {
    evaluation.text_kl = ToMeasured(report.text_divergence->kl);
    evaluation.text_top1 = ToMeasured(report.text_divergence->top1);
    const auto& tail = report.text_divergence->kl_999;
    if (tail.has_value()) evaluation.text_kl_999 = ToMeasured(*tail);
  }
  evaluation.json = DumpJson(EvalReportsJson(reports, flags), 2);
  return evaluation;
}

absl::StatusOr<int64_t> RunApply(const Model& model,
                                 const Plan& plan,
                                 const std::string& out,
                                 const Options& options,
                                 bitbudget::Progress* progress) {
  CLI::App app;
  ApplyFlags flags;
  AddApplyOptions(&app, &flags);
  BB_RETURN_IF_ERROR(Parse(options, model.path(), &app));
  flags.out = out;
  BB_RETURN_IF_ERROR(CheckApplyOut(flags, plan.internal(), plan.path()));
  BB_ASSIGN_OR_RETURN(const ApplyOptions job, ApplyOptionsOf(flags, plan.internal(), plan.path()));
  BB_ASSIGN_OR_RETURN(const ApplySummary summary,
                      ApplyPlan(model.internal(), plan.internal(), job, progress));
  return summary.file_bytes;
}

}  // namespace

Plan FindPlan(const Model& model, const Options& options, const ProgressCallback& progress) {
  CallbackProgress reports(progress);
  absl::StatusOr<plans::Plan> plan = RunFindPlan(model, options, &reports);
  ThrowIfError(plan.status());
  return Plan(std::make_shared<const plans::Plan>(*std::move(plan)), "");
}

Evaluation Evaluate(const Model& model, const Options& options, const ProgressCallback& progress) {
  CallbackProgress reports(progress);
  absl::StatusOr<Evaluation> evaluation = RunEvaluate(model, nullptr, options, &reports);
  ThrowIfError(evaluation.status());
  return *std::move(evaluation);
}

Evaluation Evaluate(const Model& model,
                    const Plan& plan,
                    const Options& options,
                    const ProgressCallback& progress) {
  CallbackProgress reports(progress);
  absl::StatusOr<Evaluation> evaluation = RunEvaluate(model, &plan, options, &reports);
  ThrowIfError(evaluation.status());
  return *std::move(evaluation);
}

int64_t Apply(const Model& model,
              const Plan& plan,
              const std::string& out,
              const Options& options,
              const ProgressCallback& progress) {
  CallbackProgress reports(progress);
  const absl::StatusOr<int64_t> bytes = RunApply(model, plan, out, options, &reports);
  ThrowIfError(bytes.status());
  return *bytes;
}

}  // namespace bitbudget::api
