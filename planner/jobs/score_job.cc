#include "planner/jobs/score_job.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/runs/calibration.h"
#include "planner/runs/output_errors.h"
#include "planner/runs/run.h"
#include "planner/workspace/setup.h"
#include "runtime/base/status_macros.h"
#include "scoring/registry.h"

namespace bitbudget {
absl::Status ScoreOptions::Validate() const {
  BB_RETURN_IF_ERROR(FindScorer(scorer).status());
  if (probe_count.has_value() && *probe_count < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat(*probe_count, " calibration sequences; at least 1 is needed"));
  }
  if (formats.empty()) return absl::InvalidArgumentError("no formats to score");
  return workspace.Validate();
}

absl::StatusOr<LayerScores> RunScoreJob(const Model& model,
                                        const ScoreOptions& options,
                                        Progress* progress) {
  BB_RETURN_IF_ERROR(options.Validate());
  BB_ASSIGN_OR_RETURN(const Scorer* const scorer, FindScorer(options.scorer));
  ScoreContext context;
  context.model = &model;
  context.threads = options.workspace.threads;
  context.progress = progress;
  if (scorer->needs == ScorerNeeds::kWeights) return scorer->score(context);

  const bool costs = scorer->needs == ScorerNeeds::kLadders;
  for (const Format& format : options.formats) {
    if (costs) BB_RETURN_IF_ERROR(UniformAssignment(format, model).status());
  }
  BB_ASSIGN_OR_RETURN(const Assignment assignment,
                      UniformAssignment(costs ? options.formats[0] : options.format, model));
  const std::vector<std::vector<Format>> ladders(model.components().size(), options.formats);
  const int64_t count = options.probe_count.value_or(scorer->sequences);
  WorkspaceNeeds needs;
  needs.calibration_probes = count;
  if (scorer->gradients) needs.gradient_probes = count;
  BB_ASSIGN_OR_RETURN(const ProbedWorkspace ready, SetUpWorkspace(model, options.workspace, needs));
  Workspace* const workspace = ready.workspace.get();
  progress->Message(ready.memory.Describe());
  BB_ASSIGN_OR_RETURN(const std::vector<std::vector<int32_t>> sequences,
                      costs ? GradientSequences(*ready.maker, count, workspace, progress)
                            : CalibrationPrompts(*ready.maker, count, workspace, progress));
  context.transformer = &workspace->transformer();
  context.bank = workspace->bank();
  context.sequences = sequences;
  context.seed = options.workspace.probes.seed;
  if (scorer->needs == ScorerNeeds::kTokens) return scorer->score(context);

  Run unstored;
  BB_RETURN_IF_ERROR(CalibrateEncoder(*ready.maker, workspace, &unstored, progress).status());
  context.assignment = &assignment;
  context.ladders = &ladders;
  return scorer->score(context);
}

}  // namespace bitbudget
