#include "planner/jobs/evaluate_job.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/planned_model.h"
#include "planner/jobs/same_model.h"
#include "planner/runs/calibration.h"
#include "planner/runs/run.h"
#include "planner/runs/shared_probes.h"
#include "planner/workspace/setup.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

absl::StatusOr<Assignment> AssignmentFor(const EvaluateOptions& options, const Model& model) {
  if (options.candidate != nullptr) return StoredAssignment(*options.candidate);
  Assignment assignment = StoredAssignment(model);
  if (options.plan.has_value()) {
    BB_ASSIGN_OR_RETURN(assignment, AssignmentOfPlan(*options.plan, model));
  } else if (options.uniform.has_value()) {
    BB_ASSIGN_OR_RETURN(assignment, UniformAssignment(*options.uniform, model));
  }
  BB_RETURN_IF_ERROR(ApplyPins(model, options.pins, &assignment));
  return assignment;
}

// Teaches the encoder from the plan, or else from the calibration probes.
absl::Status Calibrate(const EvaluateOptions& options, Workspace* workspace, Progress* progress) {
  if (options.plan.has_value()) {
    return CalibrateFromPlan(*options.plan, options.calibration, workspace, progress);
  }
  ProbeOptions probes = options.workspace.probes;
  if (!options.calibration.empty() && options.calibration != probes.path) {
    probes.source = ProbeSource::kText;
    probes.path = options.calibration;
  }
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<ProbeMaker> maker,
                      ProbeMaker::Create(workspace->model(), probes));
  Run unstored;
  return CalibrateEncoder(*maker, workspace, &unstored, progress).status();
}

absl::Status EvaluateFdt(const Assignment& assignment,
                         Evaluator* evaluator,
                         Progress* progress,
                         EvaluateReport* report) {
  progress->Begin("evaluation", 1);
  BB_ASSIGN_OR_RETURN(const std::vector<int> fdt, evaluator->EvaluateFdtFromScratch(assignment));
  progress->Update(1);
  progress->End();
  for (size_t i = 0; i < fdt.size(); ++i) {
    ProbeResult result;
    result.tokens = static_cast<int>(report->probes[i].completion());
    result.fdt = fdt[i];
    report->evaluation.push_back(result);
  }
  report->metrics.fdt_mean = MeasuredOf(Statistic::kFdtMean, report->evaluation);
  report->metrics.fdt_75 = MeasuredOf(Statistic::kFdt75, report->evaluation);
  return absl::OkStatus();
}

// `candidate`: what is measured in place of the assignment, if not null.
absl::Status EvaluateAll(const Assignment& assignment,
                         const Model* candidate,
                         const ProbeSet& set,
                         Workspace* workspace,
                         Progress* progress,
                         EvaluateReport* report) {
  progress->Begin("evaluation", 2);
  BB_ASSIGN_OR_RETURN(report->evaluation,
                      candidate != nullptr
                          ? EvaluateStored(*candidate, set, workspace)
                          : set.evaluator->EvaluateFromScratch(assignment, TokenKls::kKept));
  progress->Update(1);
  BB_ASSIGN_OR_RETURN(const Evaluation noise_floor, set.evaluator->NoiseFloor(kNoiseFloorProbes));
  progress->End();
  report->metrics = MetricsOf(report->evaluation);
  report->noise_floor = MetricsOf(noise_floor);
  report->text_divergence = TextDivergenceOf(report->evaluation);
  report->text = TextPerplexityOf(set.reference->Own(), report->evaluation);
  return absl::OkStatus();
}

}  // namespace

absl::Status EvaluateOptions::Validate() const {
  if (plan.has_value() + uniform.has_value() + (candidate != nullptr) > 1) {
    return absl::InvalidArgumentError("give a plan, a uniform format or a file, one of them");
  }
  if (candidate != nullptr && (!pins.empty() || fdt_only)) {
    return absl::InvalidArgumentError(
        "a file of somebody else's is measured as it is, on all metrics: no pins, no --fdt-only");
  }
  if (!plan.has_value() && !uniform.has_value() && candidate == nullptr && pins.empty()) {
    return absl::InvalidArgumentError(
        "nothing to evaluate: give a plan, a uniform format or pinned components");
  }
  if (probe_count < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("the number of probes is ", probe_count, "; intervals need at least 2"));
  }
  return workspace.Validate();
}

absl::StatusOr<EvaluateReport> RunEvaluateJob(const Model& model,
                                              const EvaluateOptions& options,
                                              Progress* progress) {
  BB_RETURN_IF_ERROR(options.Validate());
  if (options.candidate != nullptr) {
    const ProbeOptions& probes = options.workspace.probes;
    BB_RETURN_IF_ERROR(
        CheckSameModel(model, *options.candidate, probes.prefix_tokens + probes.completion_tokens));
  }
  BB_ASSIGN_OR_RETURN(const Assignment assignment, AssignmentFor(options, model));
  WorkspaceOptions workspace_options = options.workspace;
  WorkspaceNeeds needs;
  needs.roles = {ProbeRole::kHeldOut};
  needs.held_out_probes = options.probe_count;
  needs.fdt_only = options.fdt_only;
  if (options.plan.has_value()) {
    BB_ASSIGN_OR_RETURN(workspace_options, WithEncodingOf(*options.plan, options.workspace));
    needs.min_context = CalibrationContext(*options.plan);
  }
  BB_ASSIGN_OR_RETURN(const ProbedWorkspace ready, SetUpWorkspace(model, workspace_options, needs));
  Workspace* const workspace = ready.workspace.get();
  progress->Message(ready.memory.Describe());
  if (options.candidate == nullptr) {
    BB_RETURN_IF_ERROR(Calibrate(options, workspace, progress));
    BB_RETURN_IF_ERROR(workspace->recovered().CheckFormats(assignment));
  }
  EvaluateReport report;
  report.memory = ready.memory;
  report.size_bytes = options.candidate != nullptr ? options.candidate->stored_bytes()
                                                   : AssignmentBytes(assignment, model);
  report.bits_per_weight = BitsPerWeight(report.size_bytes, model);
  report.completion_tokens = ready.maker->completion_tokens();
  BB_ASSIGN_OR_RETURN(const ProbeSet set,
                      MakeProbeSet(*ready.maker,
                                   ProbeRole::kHeldOut,
                                   options.probe_count,
                                   workspace,
                                   progress,
                                   options.fdt_only ? Distributions::kSkip : Distributions::kKeep));
  report.probes = set.reference->probes();
  BB_RETURN_IF_ERROR(
      options.fdt_only
          ? EvaluateFdt(assignment, set.evaluator.get(), progress, &report)
          : EvaluateAll(assignment, options.candidate, set, workspace, progress, &report));
  return report;
}

}  // namespace bitbudget
