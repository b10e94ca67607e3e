#include "planner/jobs/plan_retraining.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "planner/jobs/recovery_record.h"
#include "planner/jobs/round_progress.h"
#include "planner/runs/messages.h"
#include "planner/workspace/checked_encoder.h"
#include "runtime/base/sha256.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

constexpr int64_t kMinSequences = 64;
constexpr int64_t kMaxSequences = 512;
constexpr char kStep[] = "retrain";  // in plans
constexpr char kStore[] = "the run store";

RecoveryOptions TrainingOptions(const WorkspaceOptions& workspace) {
  RecoveryOptions training;
  training.seed = workspace.probes.seed;
  training.threads = workspace.threads;
  training.token_bits = TokenBits(workspace.activations);
  return training;
}

double SecondsSince(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

std::string PartKey(const std::string& name, ComponentId component) {
  return absl::StrCat(name, "/", component);
}

}  // namespace

int64_t RetrainingSequences(const RetrainingSteps& steps) {
  const int64_t batch = RecoveryOptions().batch;
  const int64_t most = kMaxSequences / batch;
  return std::clamp(batch * (std::min(steps.masked, most) + std::min(steps.unmasked, most)),
                    kMinSequences,
                    kMaxSequences);
}

absl::Status CheckRetrainable(const SearchProblem& problem, const Model& model) {
  for (UnitId u = 0; u < problem.size(); ++u) {
    for (const ComponentId id : problem.Parts(u)) {
      for (const Choice& choice : problem.ladders[u]) {
        if (choice.format == model.Weight(id).format) continue;
        const absl::Status status = CheckRetrainable(choice.format);
        if (status.ok()) continue;
        return absl::InvalidArgumentError(
            absl::StrCat(model.component(id).name, ": ", status.message()));
      }
    }
  }
  return absl::OkStatus();
}

PlanRetraining::PlanRetraining(const PlanRetrainingContext& context)
    : in_(context), training_(TrainingOptions(context.options.workspace)) {
  CHECK(in_.options.retraining.has_value());
}

absl::Status PlanRetraining::MakeData() {
  if (data_.has_value()) return absl::OkStatus();
  BB_ASSIGN_OR_RETURN(
      data_,
      MakeTrainingData(
          in_.maker, RetrainingSequences(*in_.options.retraining), in_.workspace, in_.progress));
  return absl::OkStatus();
}

absl::Status PlanRetraining::Retrain(const Assignment& assignment, const RoundsDone& rounds) {
  BB_RETURN_IF_ERROR(MakeData());
  const RetrainingSteps& steps = *in_.options.retraining;
  RoundProgress progress(
      in_.progress, rounds, steps.masked + steps.unmasked, SecondsSince(round_begin_));
  BB_ASSIGN_OR_RETURN(const ComponentEncodings pruned, Encodings(assignment));
  std::string name = NameOf(pruned);
  BB_ASSIGN_OR_RETURN(std::optional<Retrained> retrained, Recall(name, pruned));
  if (!retrained.has_value()) {
    in_.workspace->bank()->Forget();  // training needs the memory
    BB_ASSIGN_OR_RETURN(retrained,
                        bitbudget::Retrain(
                            in_.workspace->model(),
                            pruned,
                            [&](const ReplacedWeights& weights) { return Prune(pruned, weights); },
                            steps,
                            data_->sequences,
                            training_,
                            &progress));
    if (retrained->complete) {
      BB_RETURN_IF_ERROR(Keep(name, *retrained));
    } else {
      absl::StrAppend(&name, "/interrupted");
    }
  }
  steps_.push_back({.method = kStep,
                    .steps = retrained->steps,
                    .loss_before = retrained->loss_before,
                    .loss_after = retrained->loss_after,
                    .loss_trained = retrained->loss_after});
  if (!retrained->weights.empty()) {
    for (auto& [id, values] : retrained->weights) trained_.values[id] = std::move(values);
    trained_.name = std::move(name);
  }
  in_.workspace->UseWeights(weights());
  in_.probes->WeightsChanged();
  round_begin_ = std::chrono::steady_clock::now();
  complete_ = retrained->complete;
  return complete_ ? absl::OkStatus() : absl::CancelledError("interrupted");
}

absl::StatusOr<ComponentEncodings> PlanRetraining::Encode(const Assignment& assignment) {
  CHECK(weights() != nullptr);
  in_.workspace->UseWeights(weights());
  return Encodings(assignment);
}

absl::StatusOr<ComponentEncodings> PlanRetraining::Encodings(const Assignment& assignment) const {
  EncodingBank* const bank = in_.workspace->bank();
  Progress uninterrupted;  // an interruption still needs them
  BB_RETURN_IF_ERROR(bank->Prepare(assignment, training_.threads, &uninterrupted));
  ComponentEncodings encodings;
  for (size_t c = 0; c < assignment.size(); ++c) {
    const auto id = static_cast<ComponentId>(c);
    if (assignment[c] == bank->StoredFormat(id)) continue;
    BB_ASSIGN_OR_RETURN(encodings[id], bank->Encoded({id, assignment[c]}));
  }
  return encodings;
}

absl::StatusOr<ComponentEncodings> PlanRetraining::Prune(const ComponentEncodings& like,
                                                         const ReplacedWeights& weights) const {
  StatsWeightEncoder* const encoder = in_.workspace->encoder();
  encoder->UseWeights(&weights);
  absl::StatusOr<ComponentEncodings> encodings = like;
  for (const auto& [id, values] : weights) {
    absl::StatusOr<Encoding> encoding =
        in_.workspace->weight_encoder().Encode(id, like.at(id).format, training_.threads);
    if (!encoding.ok()) {
      encodings = encoding.status();
      break;
    }
    (*encodings)[id] = *std::move(encoding);
  }
  encoder->UseWeights(trained_.name.empty() ? nullptr : &trained_.values);  // back to those in use
  return encodings;
}

std::string PlanRetraining::NameOf(const ComponentEncodings& pruned) const {
  Sha256 hash;
  hash.Update(absl::StrCat("masked steps ",
                           in_.options.retraining->masked,
                           "\nunmasked steps ",
                           in_.options.retraining->unmasked,
                           "\nbatch ",
                           training_.batch,
                           "\nseed ",
                           training_.seed,
                           "\ntoken bits ",
                           training_.token_bits,
                           "\ndata ",
                           Sha256Of(data_->sequences),
                           "\n"));
  for (const auto& [id, encoding] : pruned) {
    hash.Update(absl::StrCat(id, " ", encoding.format.Name(), " ", EncodingSha256(encoding), "\n"));
  }
  return absl::StrCat("retrained/", hash.Finish());
}

absl::StatusOr<std::optional<Retrained>> PlanRetraining::Recall(
    const std::string& name, const ComponentEncodings& pruned) const {
  BB_ASSIGN_OR_RETURN(const std::optional<std::string> summary, in_.run->Recall(name));
  if (!summary.has_value()) return std::optional<Retrained>();
  Retrained retrained;
  const std::vector<std::string> fields = absl::StrSplit(*summary, ' ');
  size_t parts = 0;
  if (fields.size() != 4 || !absl::SimpleAtoi(fields[0], &retrained.steps) ||
      !absl::SimpleAtod(fields[1], &retrained.loss_before) ||
      !absl::SimpleAtod(fields[2], &retrained.loss_after) || !absl::SimpleAtoi(fields[3], &parts)) {
    return DamagedMessage("retraining", kStore);
  }
  for (const auto& [id, encoding] : pruned) {
    BB_ASSIGN_OR_RETURN(const std::optional<std::string> bytes, in_.run->Recall(PartKey(name, id)));
    if (!bytes.has_value()) continue;
    const auto size = static_cast<size_t>(encoding.rows * encoding.cols);
    if (size == 0 || bytes->size() != size * sizeof(float)) {
      return DamagedMessage("retrained weights", kStore);
    }
    std::vector<float>& values = retrained.weights[id];
    values.resize(size);
    std::memcpy(values.data(), bytes->data(), bytes->size());
  }
  if (retrained.weights.size() != parts) return std::optional<Retrained>();  // some are lost
  return std::optional<Retrained>(std::move(retrained));
}

absl::Status PlanRetraining::Keep(const std::string& name, const Retrained& retrained) const {
  for (const auto& [id, values] : retrained.weights) {
    const auto* const bytes = reinterpret_cast<const char*>(values.data());
    BB_RETURN_IF_ERROR(in_.run->Keep(PartKey(name, id), {bytes, values.size() * sizeof(float)}));
  }
  // Last, as it stands for all of them.
  return in_.run->Keep(name,
                       absl::StrFormat("%d %.17g %.17g %d",
                                       retrained.steps,
                                       retrained.loss_before,
                                       retrained.loss_after,
                                       retrained.weights.size()));
}

plans::Recovery PlanRetraining::Record(const std::optional<RecoveryMeasurements>& held_out) const {
  plans::Recovery recovery;
  plans::RecoveryPass& pass = *recovery.add_passes();
  for (const RecoveryStep& step : steps_) *pass.add_steps() = ToProto(step);
  *pass.mutable_data() = ToProto(*data_, in_.maker);
  pass.set_learning_rate(training_.learning_rate);
  pass.set_rate_factor(training_.rate_factor);
  pass.set_batch(training_.batch);
  pass.set_kl_weight(training_.kl_weight);
  pass.set_seed(training_.seed);
  pass.set_tool_version(BITBUDGET_VERSION);
  pass.set_complete(complete_ && held_out.has_value());
  if (held_out.has_value()) {
    *pass.mutable_held_out() = ToProto(*held_out, in_.options.workspace.probes, in_.maker);
  }
  return recovery;
}

}  // namespace bitbudget
