#include "planner/jobs/recovery_record.h"

#include <filesystem>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "planner/jobs/plan_record.h"
#include "planner/output/recovered_file.h"
#include "planner/runs/measure.h"
#include "planner/workspace/checked_encoder.h"
#include "plans/plan_io.h"
#include "runtime/base/sha256.h"

namespace bitbudget {
namespace {

plans::RecoveryPass PassOf(const RecoverJobOptions& options, const RecoveryFindings& findings) {
  plans::RecoveryPass pass;
  for (const RecoveryStep& step : findings.recovered->steps) {
    *pass.add_steps() = ToProto(step);
  }
  *pass.mutable_data() = ToProto(*findings.data, *findings.maker);
  pass.set_learning_rate(options.training.learning_rate);
  pass.set_rate_factor(options.training.rate_factor);
  if (options.training.start != "plan") pass.set_start(options.training.start);
  pass.set_keep_worse(options.training.keep_worse);
  if (options.training.freeze != "none") pass.set_freeze(options.training.freeze);
  pass.set_kl_weight(options.training.kl_weight);
  pass.set_hidden_weight(options.training.hidden_weight);
  pass.set_augmented_loss(options.training.augmented_loss);
  pass.set_transform(options.training.transform);
  pass.set_batch(options.training.batch);
  pass.set_seed(options.workspace.probes.seed);
  pass.set_tool_version(BITBUDGET_VERSION);
  pass.set_complete(findings.recovered->complete && findings.held_out.has_value());
  if (findings.held_out.has_value()) {
    *pass.mutable_held_out() =
        ToProto(*findings.held_out, options.workspace.probes, *findings.maker);
  }
  return pass;
}

void AddSequences(std::span<const std::vector<int32_t>> sequences, Sha256* hash) {
  for (const std::vector<int32_t>& sequence : sequences) {
    hash->Update(absl::StrCat(absl::StrJoin(sequence, ","), "\n"));
  }
  hash->Update("\n");
}

}  // namespace

plans::RecoveryStep ToProto(const RecoveryStep& step) {
  plans::RecoveryStep record;
  record.set_method(step.method);
  record.set_steps(step.steps);
  record.set_loss_before(step.loss_before);
  record.set_loss_after(step.loss_after);
  record.set_loss_trained(step.loss_trained);
  record.set_diverged(step.diverged);
  return record;
}

plans::RecoveryData ToProto(const TrainingData& data, const ProbeMaker& maker) {
  plans::RecoveryData record;
  if (data.text_sequences > 0) record.set_text_fingerprint(maker.fingerprint());
  record.set_text_sequences(data.text_sequences);
  record.set_sampled_sequences(data.sampled_sequences);
  record.set_kept_aside(static_cast<int64_t>(data.sequences.kept_aside.size()));
  record.set_tokens(data.tokens);
  return record;
}

plans::RecoveryEvidence ToProto(const RecoveryMeasurements& held_out,
                                const ProbeOptions& probes,
                                const ProbeMaker& maker) {
  plans::RecoveryEvidence evidence;
  evidence.set_probe_source(ProbeSourceName(probes.source));
  evidence.set_probe_fingerprint(maker.fingerprint());
  const Evaluation& before = held_out.before;
  const Evaluation& after = held_out.after;
  evidence.set_probes(static_cast<int64_t>(before.size()));
  evidence.set_prefix_tokens(maker.prefix_tokens());
  evidence.set_completion_tokens(maker.completion_tokens());
  *evidence.mutable_before() = ToProto(MetricsOf(before));
  *evidence.mutable_after() = ToProto(MetricsOf(after));
  *evidence.mutable_fdt_difference() = ToProto(PairedInterval(Statistic::kFdtMean, after, before));
  *evidence.mutable_kl_difference() = ToProto(PairedInterval(Statistic::kKlMean, after, before));
  if (!HasText(before)) return evidence;
  *evidence.mutable_text_before() = ToProto(*TextDivergenceOf(before));
  *evidence.mutable_text_after() = ToProto(*TextDivergenceOf(after));
  *evidence.mutable_text_kl_difference() =
      ToProto(PairedInterval(Statistic::kTextKl, after, before));
  return evidence;
}

std::string Sha256Of(const RecoveryData& data) {
  Sha256 hash;
  AddSequences(data.training, &hash);
  AddSequences(data.kept_aside, &hash);
  return hash.Finish();
}

plans::Plan RecoveredPlan(const RecoverJobOptions& options, const RecoveryFindings& findings) {
  plans::Plan plan = options.plan;
  for (const auto& [id, encoding] : findings.recovered->model.encodings) {
    plan.mutable_components(id)->set_encoding_sha256(EncodingSha256(encoding));
  }
  plans::Recovery& recovery = *plan.mutable_recovery();
  recovery.set_weights_file(
      std::filesystem::path(RecoveredFileFor(options.out)).filename().string());
  recovery.set_transformed(findings.recovered->model.transformed);
  *recovery.add_passes() = PassOf(options, findings);
  return plan;
}

std::string RecoveryKey(const RecoverJobOptions& options,
                        const RecoveryOptions& training,
                        const RecoveryData& data,
                        const ComponentEncodings& start) {
  Sha256 hash;
  hash.Update(SerializePlan(options.plan));
  hash.Update(absl::StrCat("\n",
                           BITBUDGET_VERSION,
                           "\nmethods ",
                           absl::StrJoin(options.methods, ","),
                           "\nsteps ",
                           training.steps,
                           "\nlearning rate ",
                           absl::StrFormat("%.17g", training.learning_rate),
                           "\nrate factor ",
                           absl::StrFormat("%.17g", training.rate_factor),
                           "\nstart ",
                           training.start,
                           "\nkeep worse ",
                           training.keep_worse ? 1 : 0,
                           "\nprofile every ",
                           training.profile_every,
                           "\nfreeze ",
                           training.freeze,
                           "\nKL weight ",
                           absl::StrFormat("%.17g", training.kl_weight),
                           "\nhidden weight ",
                           absl::StrFormat("%.17g", training.hidden_weight),
                           "\naugmented loss ",
                           training.augmented_loss ? 1 : 0,
                           "\ntransform ",
                           training.transform ? 1 : 0,
                           "\nbatch ",
                           training.batch,
                           "\nseed ",
                           training.seed,
                           "\ntoken bits ",
                           training.token_bits,
                           "\n"));
  for (const auto& [id, encoding] : start) {
    hash.Update(absl::StrCat(id, " ", EncodingSha256(encoding), "\n"));
  }
  AddSequences(data.training, &hash);
  AddSequences(data.kept_aside, &hash);
  return hash.Finish();
}

}  // namespace bitbudget
