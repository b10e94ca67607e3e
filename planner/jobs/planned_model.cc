#include "planner/jobs/planned_model.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/output/recovered_file.h"
#include "planner/runs/calibration.h"
#include "planner/runs/run.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/encoders.h"
#include "runtime/quantize/pruning.h"

namespace bitbudget {
namespace {

absl::StatusOr<InputMoments> MomentsOfPlan(const plans::Plan& plan, const Model& model) {
  InputMoments moments;
  for (const plans::InputMoments& stored : plan.input_moments()) {
    ComponentId id = -1;
    for (size_t c = 0; c < model.components().size(); ++c) {
      if (model.component(static_cast<ComponentId>(c)).name == stored.component()) {
        id = static_cast<ComponentId>(c);
      }
    }
    if (id < 0 || stored.squares().size() != model.component(id).cols * sizeof(float)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "input_moments: component \"", stored.component(), "\" does not fit the model"));
    }
    std::vector<float>& values = moments[id];
    values.resize(model.component(id).cols);
    std::memcpy(values.data(), stored.squares().data(), stored.squares().size());
  }
  return moments;
}

EncodingHashes HashesOfPlan(const plans::Plan& plan) {
  EncodingHashes hashes;
  for (int c = 0; c < plan.components_size(); ++c) {
    const plans::Component& planned = plan.components(c);
    const absl::StatusOr<Format> format = ParseFormat(planned.format());
    if (planned.encoding_sha256().empty() || !format.ok()) continue;
    hashes[{c, *format}] = planned.encoding_sha256();
  }
  return hashes;
}

// What learns from calibration text.
std::string Learner(const plans::Plan& plan) {
  return plan.options().pruning() == PruningName(Pruning::kFisher)
             ? absl::StrCat("pruning by ", plan.options().pruning())
             : absl::StrCat("encoder ", plan.options().encoder());
}

// The probes that the plan was calibrated on.
absl::StatusOr<ProbeOptions> CalibrationProbes(const plans::Plan& plan,
                                               const std::string& calibration) {
  ProbeOptions options;
  for (const ProbeSource source : {ProbeSource::kText, ProbeSource::kPrompts}) {
    if (plan.calibration().source() == ProbeSourceName(source)) options.source = source;
  }
  if (options.source != ProbeSource::kModel) {
    if (calibration.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the plan's ",
                       Learner(plan),
                       " learned from a ",
                       plan.calibration().source(),
                       " file, which is needed again: --calibration names it (its SHA-256 is ",
                       plan.calibration().fingerprint(),
                       ")"));
    }
    options.path = calibration;
  }
  options.prefix_tokens = plan.options().prefix_tokens();
  options.completion_tokens = plan.options().completion_tokens();
  options.seed = plan.options().seed();
  return options;
}

}  // namespace

absl::StatusOr<Assignment> AssignmentOfPlan(const plans::Plan& plan, const Model& model) {
  if (plan.model().fingerprint() != model.Fingerprint()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the plan is for another model: its fingerprint is ",
                     plan.model().fingerprint(),
                     ", that of ",
                     model.path(),
                     " is ",
                     model.Fingerprint()));
  }
  if (plan.components_size() != static_cast<int>(model.components().size())) {
    return absl::InvalidArgumentError(absl::StrCat("the plan lists ",
                                                   plan.components_size(),
                                                   " components, the model has ",
                                                   model.components().size()));
  }
  Assignment assignment;
  for (int c = 0; c < plan.components_size(); ++c) {
    const plans::Component& planned = plan.components(c);
    const Component& component = model.component(c);
    if (planned.name() != component.name || planned.rows() != component.rows ||
        planned.cols() != component.cols) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the plan's component ", c, " is ", planned.name(), ", the model's is ", component.name));
    }
    BB_ASSIGN_OR_RETURN(const Format format, ParseFormat(planned.format()));
    assignment.push_back(format);
  }
  return assignment;
}

absl::StatusOr<WorkspaceOptions> WithEncodingOf(const plans::Plan& plan, WorkspaceOptions options) {
  BB_RETURN_IF_ERROR(FindEncoder(plan.options().encoder()).status());
  options.encoder = plan.options().encoder();
  if (!plan.options().pruning().empty()) {
    BB_ASSIGN_OR_RETURN(options.pruning, ParsePruning(plan.options().pruning()));
  }
  return options;
}

int64_t CalibrationContext(const plans::Plan& plan) {
  if (!plan.has_calibration() || plan.has_recovery()) return 0;
  return plan.options().prefix_tokens() + plan.options().completion_tokens();
}

absl::Status CalibrateFromPlan(const plans::Plan& plan,
                               const std::string& calibration,
                               Workspace* workspace,
                               Progress* progress) {
  if (plan.has_recovery()) {
    const WorkspaceOptions& options = workspace->options();
    BB_ASSIGN_OR_RETURN(
        RecoveredWeights weights,
        ReadRecoveredFile(plan, workspace->model(), options.plan_folder, options.threads));
    workspace->UseRecovered(std::move(weights));
    return absl::OkStatus();
  }
  const StatsNeed needs = workspace->encoder()->needs();
  const bool fisher = workspace->encoder()->NeedsFisher();
  if (needs == StatsNeed::kNothing && !fisher) return absl::OkStatus();
  if (needs == StatsNeed::kMoments && !fisher) {
    BB_ASSIGN_OR_RETURN(InputMoments moments, MomentsOfPlan(plan, workspace->model()));
    workspace->encoder()->SetMoments(std::move(moments));
    return absl::OkStatus();
  }
  if (!plan.has_calibration()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the plan's ",
                     Learner(plan),
                     " learns from text, but the plan does not say from which: its field "
                     "'calibration' is missing"));
  }
  BB_ASSIGN_OR_RETURN(const ProbeOptions options, CalibrationProbes(plan, calibration));
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<ProbeMaker> maker,
                      ProbeMaker::Create(workspace->model(), options));
  if (maker->fingerprint() != plan.calibration().fingerprint()) {
    return absl::InvalidArgumentError(
        absl::StrCat(calibration,
                     ": not the text that the plan was calibrated on: its SHA-256 is ",
                     maker->fingerprint(),
                     ", not ",
                     plan.calibration().fingerprint()));
  }
  Run unstored;
  BB_RETURN_IF_ERROR(CalibrateEncoder(*maker, workspace, &unstored, progress).status());
  workspace->ExpectEncodings(HashesOfPlan(plan));
  return absl::OkStatus();
}

absl::StatusOr<PlannedModel> OpenPlannedModel(const Model& model,
                                              const plans::Plan* plan,
                                              const WorkspaceOptions& options,
                                              int64_t context,
                                              const std::string& calibration,
                                              Progress* progress) {
  PlannedModel planned;
  if (plan == nullptr) {
    planned.assignment = StoredAssignment(model);
    BB_ASSIGN_OR_RETURN(planned.workspace, Workspace::Create(model, options, context));
    return planned;
  }
  BB_ASSIGN_OR_RETURN(planned.assignment, AssignmentOfPlan(*plan, model));
  BB_ASSIGN_OR_RETURN(const WorkspaceOptions planned_options, WithEncodingOf(*plan, options));
  context = std::max(context, CalibrationContext(*plan));
  BB_ASSIGN_OR_RETURN(planned.workspace, Workspace::Create(model, planned_options, context));
  BB_RETURN_IF_ERROR(CalibrateFromPlan(*plan, calibration, planned.workspace.get(), progress));
  return planned;
}

}  // namespace bitbudget
