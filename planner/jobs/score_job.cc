#include "planner/jobs/score_job.h"

#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/runs/calibration.h"
#include "planner/runs/output_errors.h"
#include "planner/runs/run.h"
#include "planner/workspace/workspace.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/encoders.h"
#include "scoring/registry.h"

namespace bitbudget {
namespace {

absl::StatusOr<std::unique_ptr<Workspace>> MakeWorkspace(const Model& model,
                                                         const ProbeMaker& maker,
                                                         const ScoreOptions& options,
                                                         Progress* progress) {
  MemoryRequest request;
  request.calibration_probes = options.probe_count;
  request.context = maker.context();
  request.completion = maker.completion_tokens();
  request.threads = options.threads;
  BB_ASSIGN_OR_RETURN(const MemoryPlan memory, PlanMemory(model, request, options.memory_bytes));
  progress->Message(memory.Describe());
  WorkspaceOptions workspace_options;
  workspace_options.encoder = options.encoder;
  workspace_options.threads = options.threads;
  workspace_options.spill_directory = options.spill_directory;
  workspace_options.SetMemory(memory);
  return Workspace::Create(model, workspace_options, maker.context());
}

}  // namespace

absl::Status ScoreOptions::Validate() const {
  BB_RETURN_IF_ERROR(FindScorer(scorer).status());
  BB_RETURN_IF_ERROR(FindEncoder(encoder).status());
  if (probe_count < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(probe_count, " calibration sequences; at least 1 is needed"));
  }
  return probes.Validate();
}

absl::StatusOr<LayerScores> RunScoreJob(const Model& model,
                                        const ScoreOptions& options,
                                        Progress* progress) {
  BB_RETURN_IF_ERROR(options.Validate());
  BB_ASSIGN_OR_RETURN(const Scorer* const scorer, FindScorer(options.scorer));
  ScoreContext context;
  context.model = &model;
  context.threads = options.threads;
  context.progress = progress;
  if (scorer->needs == ScorerNeeds::kWeights) return scorer->score(context);

  BB_ASSIGN_OR_RETURN(const Assignment assignment, UniformAssignment(options.format, model));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<ProbeMaker> maker,
                      ProbeMaker::Create(model, options.probes));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Workspace> workspace,
                      MakeWorkspace(model, *maker, options, progress));
  BB_ASSIGN_OR_RETURN(const std::vector<std::vector<int32_t>> sequences,
                      CalibrationPrompts(*maker, options.probe_count, workspace.get(), progress));
  context.transformer = &workspace->transformer();
  context.bank = workspace->bank();
  context.sequences = sequences;
  if (scorer->needs == ScorerNeeds::kTokens) return scorer->score(context);

  Run unstored;
  BB_RETURN_IF_ERROR(CalibrateEncoder(*maker, workspace.get(), &unstored, progress, nullptr));
  context.assignment = &assignment;
  return scorer->score(context);
}

}  // namespace bitbudget
