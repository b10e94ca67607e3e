#include "planner/jobs/evaluate_job.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "planner/runs/calibration.h"
#include "planner/runs/measure.h"
#include "planner/workspace/workspace.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

absl::Status EvaluateOptions::Validate() const {
  if (plan.has_value() && uniform.has_value()) {
    return absl::InvalidArgumentError("give either a plan or a uniform format");
  }
  if (!plan.has_value() && !uniform.has_value() && pins.empty()) {
    return absl::InvalidArgumentError("give what to measure: --plan, --uniform or --pin");
  }
  if (probe_count < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("--probes is ", probe_count, ", intervals need at least 2"));
  }
  if (threads < 1) {
    return absl::InvalidArgumentError(absl::StrCat("--threads is ", threads, ", must be >= 1"));
  }
  return probes.Validate();
}

absl::StatusOr<EvaluateReport> RunEvaluateJob(const Model& model,
                                              const EvaluateOptions& options,
                                              Progress* progress) {
  BB_RETURN_IF_ERROR(options.Validate());
  Assignment assignment;
  if (options.plan.has_value()) {
    BB_ASSIGN_OR_RETURN(assignment, AssignmentOfPlan(*options.plan, model));
  } else if (options.uniform.has_value()) {
    BB_ASSIGN_OR_RETURN(assignment, UniformAssignment(*options.uniform, model));
  } else {
    assignment = StoredAssignment(model);
  }
  BB_RETURN_IF_ERROR(ApplyPins(model, options.pins, &assignment));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<ProbeMaker> maker,
                      ProbeMaker::Create(model, options.probes));
  BB_RETURN_IF_ERROR(maker->CheckRole(ProbeRole::kHeldOut));
  WorkspaceOptions workspace_options;
  workspace_options.encoder = options.encoder;
  workspace_options.pruning = options.pruning;
  if (options.plan.has_value()) {
    BB_RETURN_IF_ERROR(workspace_options.SetEncoding(options.plan->options()));
  }
  workspace_options.activations = options.activations;
  workspace_options.threads = options.threads;
  workspace_options.spill_directory = options.spill_directory;
  int64_t context = maker->context();
  if (options.plan.has_value()) context = std::max(context, CalibrationContext(*options.plan));
  MemoryRequest request;
  request.held_out_probes = options.probe_count;
  request.context = context;
  request.completion = maker->completion_tokens();
  request.text = options.probes.source == ProbeSource::kText;
  request.fdt_only = options.fdt_only;
  request.threads = options.threads;
  BB_ASSIGN_OR_RETURN(const MemoryPlan memory, PlanMemory(model, request, options.memory_bytes));
  workspace_options.SetMemory(memory);
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Workspace> workspace,
                      Workspace::Create(model, workspace_options, context));
  progress->Message(memory.Describe());
  if (options.plan.has_value()) {
    BB_RETURN_IF_ERROR(
        CalibrateFromPlan(*options.plan, options.calibration, workspace.get(), progress));
  } else {
    ProbeOptions calibration = options.probes;
    if (!options.calibration.empty() && options.calibration != options.probes.path) {
      calibration.source = ProbeSource::kText;
      calibration.path = options.calibration;
    }
    BB_ASSIGN_OR_RETURN(const std::unique_ptr<ProbeMaker> calibrator,
                        ProbeMaker::Create(model, calibration));
    Run alone;
    BB_RETURN_IF_ERROR(CalibrateEncoder(*calibrator, workspace.get(), &alone, progress, nullptr));
  }

  BB_ASSIGN_OR_RETURN(const ProbeSet set,
                      MakeProbeSet(*maker,
                                   ProbeRole::kHeldOut,
                                   options.probe_count,
                                   workspace.get(),
                                   progress,
                                   !options.fdt_only));
  EvaluateReport report;
  report.memory = memory;
  report.size_bytes = AssignmentBytes(assignment, model);
  report.bits_per_weight = BitsPerWeight(report.size_bytes, model);
  report.completion_tokens = maker->completion_tokens();
  report.probes = set.reference->probes();
  if (options.fdt_only) {
    progress->Begin("evaluation", 1);
    BB_ASSIGN_OR_RETURN(const std::vector<int> fdt,
                        set.evaluator->EvaluateFdtFromScratch(assignment));
    progress->Update(1);
    progress->End();
    for (size_t i = 0; i < fdt.size(); ++i) {
      ProbeResult result;
      result.tokens = static_cast<int>(report.probes[i].completion());
      result.fdt = fdt[i];
      report.evaluation.push_back(result);
    }
    report.metrics.set_fdt_mean(Compute(Statistic::kFdtMean, report.evaluation));
    *report.metrics.mutable_fdt_interval() =
        ToProto(BootstrapInterval(Statistic::kFdtMean, report.evaluation));
    report.metrics.set_fdt_75(Compute(Statistic::kFdt75, report.evaluation));
    *report.metrics.mutable_fdt_75_interval() =
        ToProto(BootstrapInterval(Statistic::kFdt75, report.evaluation));
    return report;
  }
  progress->Begin("evaluation", 2);
  BB_ASSIGN_OR_RETURN(report.evaluation, set.evaluator->EvaluateFromScratch(assignment));
  progress->Update(1);
  BB_ASSIGN_OR_RETURN(const Evaluation noise_floor, set.evaluator->NoiseFloor());
  progress->End();
  report.metrics = MetricsOf(report.evaluation);
  report.noise_floor = MetricsOf(noise_floor);

  const std::vector<std::vector<int32_t>> windows =
      maker->TextWindows(ProbeRole::kHeldOut, options.probe_count);
  if (!windows.empty()) {
    AssignmentWeights weights = workspace->bank()->Weights(assignment);
    plans::TextPerplexity& text = report.text.emplace();
    double value = 0;
    BB_RETURN_IF_ERROR(MeasurePerplexity(*workspace,
                                         workspace->reference(),
                                         windows,
                                         progress,
                                         &value,
                                         text.mutable_reference_interval()));
    text.set_reference(value);
    BB_RETURN_IF_ERROR(MeasurePerplexity(
        *workspace, &weights, windows, progress, &value, text.mutable_plan_interval()));
    text.set_plan(value);
  }
  return report;
}

}  // namespace bitbudget
