#include "planner/jobs/recover_job.h"

#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "planner/jobs/planned_model.h"
#include "planner/jobs/recovery_record.h"
#include "planner/output/recovered_file.h"
#include "planner/runs/measure.h"
#include "planner/runs/recovery_file.h"
#include "planner/runs/training_data.h"
#include "planner/workspace/setup.h"
#include "plans/targets/plan_file.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// What is measured before and after.
struct HeldOutData {
  std::vector<std::vector<int32_t>> prompts;
  std::vector<Generation> completions;  // the reference's, from the first measurement on
};

// What a recovery starts from, and what its result is compared with.
struct Start {
  std::unique_ptr<ProbeMaker> maker;
  MemoryPlan memory;
  int64_t context = 0;
  EncodedModel model;
  TrainingData data;
  HeldOutData held_out;
  Evaluation before;
};

RecoveryOptions TrainingOptions(const RecoverJobOptions& options) {
  RecoveryOptions training = options.training;
  training.seed = options.workspace.probes.seed;
  training.threads = options.workspace.threads;
  training.token_bits = TokenBits(options.workspace.activations);
  return training;
}

// Formats and shapes of what is to be recovered, without any bytes.
absl::StatusOr<EncodedModel> Outline(const Assignment& assignment, const Model& model) {
  EncodedModel outline;
  for (size_t c = 0; c < assignment.size(); ++c) {
    const auto id = static_cast<ComponentId>(c);
    if (assignment[c] == model.Weight(id).format) continue;
    outline.encodings[id] = {assignment[c], model.component(id).rows, model.component(id).cols, {}};
  }
  if (!outline.encodings.empty()) return outline;
  return absl::InvalidArgumentError(
      "nothing to recover: the plan keeps all components as they are stored");
}

absl::Status Encode(const Assignment& assignment,
                    Workspace* workspace,
                    Progress* progress,
                    ComponentEncodings* encodings) {
  BB_RETURN_IF_ERROR(
      workspace->bank()->Prepare(assignment, workspace->options().threads, progress));
  for (auto& [id, encoding] : *encodings) {
    BB_ASSIGN_OR_RETURN(encoding, workspace->bank()->Encoded({id, assignment[id]}));
  }
  return absl::OkStatus();
}

struct MeasureContext {
  const Assignment& assignment;
  const ProbeMaker& maker;
  Workspace* workspace;
  Progress* progress;
  absl::string_view when;  // before, after
};

absl::StatusOr<Evaluation> Measure(const MeasureContext& in, HeldOutData* data) {
  BB_ASSIGN_OR_RETURN(const ProbeSet set,
                      MakeProbeSet(data->prompts,
                                   in.maker.completion_tokens(),
                                   data->completions,
                                   in.workspace,
                                   in.progress));
  data->completions = CompletionsOf(*set.reference);
  in.progress->Begin(absl::StrCat("held-out probes ", in.when), 1);
  BB_ASSIGN_OR_RETURN(Evaluation evaluation,
                      set.evaluator->EvaluateFromScratch(in.assignment, TokenKls::kKept));
  in.progress->Update(1);
  in.progress->End();
  return evaluation;
}

// All that needs the plan's own codes. What it holds in memory is given back ahead of the training.
absl::StatusOr<Start> MakeStart(const Model& model,
                                const Assignment& assignment,
                                EncodedModel outline,
                                const RecoverJobOptions& options,
                                Progress* progress) {
  Start start;
  BB_ASSIGN_OR_RETURN(const WorkspaceOptions workspace_options,
                      WithEncodingOf(options.plan, options.workspace));
  WorkspaceNeeds needs;
  needs.roles = {ProbeRole::kCalibration, ProbeRole::kHeldOut};
  needs.held_out_probes = options.held_out_probes;
  needs.calibration_probes = options.sequences;
  needs.min_context = CalibrationContext(options.plan);
  BB_ASSIGN_OR_RETURN(ProbedWorkspace ready, SetUpWorkspace(model, workspace_options, needs));
  start.maker = std::move(ready.maker);
  start.memory = ready.memory;
  start.context = start.maker->context();
  Workspace* const workspace = ready.workspace.get();
  progress->Message(ready.memory.Describe());
  BB_RETURN_IF_ERROR(CalibrateFromPlan(options.plan, options.calibration, workspace, progress));
  start.model = std::move(outline);
  start.model.vectors = workspace->recovered().vectors();
  BB_RETURN_IF_ERROR(Encode(assignment, workspace, progress, &start.model.encodings));
  BB_ASSIGN_OR_RETURN(start.data,
                      MakeTrainingData(*start.maker, options.sequences, workspace, progress));
  BB_ASSIGN_OR_RETURN(
      start.held_out.prompts,
      start.maker->Prompts(
          ProbeRole::kHeldOut, options.held_out_probes, workspace->sampler(), progress));
  BB_ASSIGN_OR_RETURN(
      start.before,
      Measure({assignment, *start.maker, workspace, progress, "before"}, &start.held_out));
  return start;
}

absl::StatusOr<Evaluation> MeasureAfter(const Model& model,
                                        const Assignment& assignment,
                                        const EncodedModel& encoded,
                                        const RecoverJobOptions& options,
                                        Start* start,
                                        Progress* progress) {
  WorkspaceOptions workspace_options = options.workspace;
  workspace_options.encoder = "rtn";  // which encodes nothing here
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<Workspace> workspace,
                      Workspace::Create(model, workspace_options, start->context, start->memory));
  workspace->UseRecovered(RecoveredWeights(encoded.encodings, encoded.vectors));
  return Measure({assignment, *start->maker, workspace.get(), progress, "after"}, &start->held_out);
}

bool SameBytes(const EncodedModel& a, const EncodedModel& b) {
  for (const auto& [id, encoding] : a.encodings) {
    if (encoding.bytes != b.encodings.at(id).bytes) return false;
  }
  return a.vectors == b.vectors;
}

// Writes the codes and then the plan that knows their hash.
absl::Status Write(const Model& model,
                   const EncodedModel& encoded,
                   const std::string& path,
                   plans::Plan* plan) {
  plan->mutable_recovery()->set_weights_sha256(std::string(64, '0'));
  BB_RETURN_IF_ERROR(CheckPlan(*plan));  // before anything is replaced
  Progress unseen;                       // an interruption is no reason not to write
  BB_ASSIGN_OR_RETURN(
      *plan->mutable_recovery()->mutable_weights_sha256(),
      WriteRecoveredFile(
          model, encoded.encodings, encoded.vectors, RecoveredFileFor(path), &unseen));
  return WritePlan(*plan, path);
}

}  // namespace

absl::Status RecoverJobOptions::Validate() const {
  if (methods.empty()) return absl::InvalidArgumentError("no method of recovery is given");
  if (sequences < kKeptAsideEvery) {
    return absl::InvalidArgumentError(absl::StrCat("the number of sequences is ",
                                                   sequences,
                                                   "; at least ",
                                                   kKeptAsideEvery,
                                                   " are needed, as one of so many is kept aside"));
  }
  if (held_out_probes < 2) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the number of held-out probes is ", held_out_probes, "; intervals need at least 2"));
  }
  return workspace.Validate();
}

absl::StatusOr<RecoverReport> RunRecoverJob(const Model& model,
                                            const RecoverJobOptions& options,
                                            Progress* progress) {
  BB_RETURN_IF_ERROR(options.Validate());
  BB_ASSIGN_OR_RETURN(const Assignment assignment, AssignmentOfPlan(options.plan, model));
  BB_ASSIGN_OR_RETURN(EncodedModel outline, Outline(assignment, model));
  outline.transformed = options.plan.recovery().transformed();
  const RecoveryOptions training = TrainingOptions(options);
  BB_RETURN_IF_ERROR(CheckRecovery(model, outline, options.methods, training));
  BB_ASSIGN_OR_RETURN(Start start,
                      MakeStart(model, assignment, std::move(outline), options, progress));
  BB_ASSIGN_OR_RETURN(
      const std::unique_ptr<RecoveryFile> state,
      RecoveryFile::Open(
          RecoveryFile::PathFor(options.out),
          RecoveryKey(options, training, start.data.sequences, start.model.encodings),
          progress));
  BB_ASSIGN_OR_RETURN(const Recovered recovered,
                      Recover(model,
                              start.model,
                              start.data.sequences,
                              options.methods,
                              training,
                              state.get(),
                              progress));
  if (recovered.steps.empty() ||
      (progress->Interrupted() && SameBytes(recovered.model, start.model))) {
    if (progress->Interrupted()) return absl::CancelledError("interrupted");
    return absl::DeadlineExceededError("no method of recovery ended in the time that it was given");
  }

  RecoverReport report;
  RecoveryFindings findings{&recovered, &start.data, start.maker.get(), std::nullopt};
  if (!progress->Interrupted()) {
    absl::StatusOr<Evaluation> after =
        MeasureAfter(model, assignment, recovered.model, options, &start, progress);
    if (!after.ok() && !absl::IsCancelled(after.status())) return after.status();
    if (after.ok()) findings.held_out = RecoveryMeasurements{start.before, *std::move(after)};
  }
  report.interrupted = !findings.held_out.has_value();
  report.plan = RecoveredPlan(options, findings);
  report.steps = recovered.steps;
  BB_RETURN_IF_ERROR(Write(model, recovered.model, options.out, &report.plan));
  if (recovered.complete && !report.interrupted) BB_RETURN_IF_ERROR(state->Remove());
  return report;
}

}  // namespace bitbudget
