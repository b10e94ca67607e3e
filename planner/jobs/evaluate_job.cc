#include "planner/jobs/evaluate_job.h"

#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/planned_model.h"
#include "planner/runs/calibration.h"
#include "planner/runs/run.h"
#include "planner/workspace/setup.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

absl::StatusOr<Assignment> AssignmentFor(const EvaluateOptions& options, const Model& model) {
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

absl::Status EvaluateAll(const Assignment& assignment,
                         Evaluator* evaluator,
                         Progress* progress,
                         EvaluateReport* report) {
  progress->Begin("evaluation", 2);
  BB_ASSIGN_OR_RETURN(report->evaluation, evaluator->EvaluateFromScratch(assignment));
  progress->Update(1);
  BB_ASSIGN_OR_RETURN(const Evaluation noise_floor, evaluator->NoiseFloor());
  progress->End();
  report->metrics = MetricsOf(report->evaluation);
  report->noise_floor = MetricsOf(noise_floor);
  return absl::OkStatus();
}

// What there is to evaluate, where, and for whom.
struct EvaluateContext {
  const EvaluateOptions& options;
  const Assignment& assignment;
  const ProbeMaker& maker;
  Workspace* workspace;
  Progress* progress;
};

// Along the reference's greedy completions. The probes are gone afterwards.
absl::Status EvaluateCompletions(const EvaluateContext& in, EvaluateReport* report) {
  const bool fdt_only = in.options.fdt_only;
  BB_ASSIGN_OR_RETURN(const ProbeSet set,
                      MakeProbeSet(in.maker,
                                   ProbeRole::kHeldOut,
                                   in.options.probe_count,
                                   in.workspace,
                                   in.progress,
                                   fdt_only ? Distributions::kSkip : Distributions::kKeep));
  report->probes = set.reference->probes();
  return fdt_only ? EvaluateFdt(in.assignment, set.evaluator.get(), in.progress, report)
                  : EvaluateAll(in.assignment, set.evaluator.get(), in.progress, report);
}

// Along as many windows as there are probes.
absl::Status EvaluateWindows(const EvaluateContext& in, EvaluateReport* report) {
  if (in.maker.window_tokens() <= kTextPromptTokens) return absl::OkStatus();
  BB_ASSIGN_OR_RETURN(const std::vector<std::vector<int32_t>> windows,
                      in.maker.Windows(ProbeRole::kHeldOut,
                                       static_cast<int64_t>(report->probes.size()),
                                       in.workspace->sampler(),
                                       in.progress));
  TextProbes probes = SplitWindows(windows, kTextPromptTokens);
  BB_ASSIGN_OR_RETURN(const ProbeSet set,
                      MakeProbeSet(probes.prompts,
                                   in.maker.window_tokens() - kTextPromptTokens,
                                   std::move(probes.continuations),
                                   in.workspace,
                                   in.progress));
  in.progress->Begin("text divergence", 1);
  BB_ASSIGN_OR_RETURN(report->text_evaluation, set.evaluator->EvaluateFromScratch(in.assignment));
  in.progress->Update(1);
  in.progress->End();
  report->text_divergence = TextDivergenceOf(report->text_evaluation);
  return absl::OkStatus();
}

absl::StatusOr<std::optional<TextPerplexity>> EvaluateText(
    const Assignment& assignment,
    std::span<const std::vector<int32_t>> windows,
    Workspace* workspace,
    Progress* progress) {
  if (windows.empty()) return std::optional<TextPerplexity>();
  TextPerplexity text;
  AssignmentWeights weights = workspace->bank()->Weights(assignment);
  BB_ASSIGN_OR_RETURN(text.reference,
                      MeasurePerplexity(*workspace, workspace->reference(), windows, progress));
  BB_ASSIGN_OR_RETURN(text.candidate, MeasurePerplexity(*workspace, &weights, windows, progress));
  return std::optional<TextPerplexity>(text);
}

}  // namespace

absl::Status EvaluateOptions::Validate() const {
  if (plan.has_value() && uniform.has_value()) {
    return absl::InvalidArgumentError("give either a plan or a uniform format");
  }
  if (!plan.has_value() && !uniform.has_value() && pins.empty()) {
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
  BB_ASSIGN_OR_RETURN(const Assignment assignment, AssignmentFor(options, model));
  WorkspaceOptions workspace_options = options.workspace;
  WorkspaceNeeds needs;
  needs.roles = {ProbeRole::kHeldOut};
  needs.held_out_probes = options.probe_count;
  needs.windows = options.fdt_only ? 0 : options.probe_count;
  needs.fdt_only = options.fdt_only;
  if (options.plan.has_value()) {
    BB_ASSIGN_OR_RETURN(workspace_options, WithEncodingOf(*options.plan, options.workspace));
    needs.min_context = CalibrationContext(*options.plan);
  }
  BB_ASSIGN_OR_RETURN(const ProbedWorkspace ready, SetUpWorkspace(model, workspace_options, needs));
  Workspace* const workspace = ready.workspace.get();
  progress->Message(ready.memory.Describe());
  BB_RETURN_IF_ERROR(Calibrate(options, workspace, progress));
  BB_RETURN_IF_ERROR(workspace->recovered().CheckFormats(assignment));
  EvaluateReport report;
  report.memory = ready.memory;
  report.size_bytes = AssignmentBytes(assignment, model);
  report.bits_per_weight = BitsPerWeight(report.size_bytes, model);
  report.completion_tokens = ready.maker->completion_tokens();
  const EvaluateContext context{options, assignment, *ready.maker, workspace, progress};
  BB_RETURN_IF_ERROR(EvaluateCompletions(context, &report));
  if (options.fdt_only) return report;
  BB_RETURN_IF_ERROR(EvaluateWindows(context, &report));
  BB_ASSIGN_OR_RETURN(
      report.text,
      EvaluateText(assignment,
                   ready.maker->TextWindows(ProbeRole::kHeldOut, options.probe_count),
                   workspace,
                   progress));
  return report;
}

}  // namespace bitbudget
