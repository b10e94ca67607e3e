#include "tools/recovery_report.h"

#include <cmath>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "planner/jobs/plan_record.h"
#include "planner/output/recovered_file.h"
#include "planner/runs/recovery_file.h"
#include "plans/evidence.h"
#include "plans/validate.h"
#include "runtime/base/known_names.h"
#include "runtime/model/decoder/components.h"
#include "tools/command.h"
#include "tools/interrupt.h"

namespace bitbudget {
namespace {

nlohmann::ordered_json IntervalJson(const plans::Interval& interval) {
  return nlohmann::ordered_json::array({interval.low(), interval.high()});
}

// The metrics and, unless it is null, the divergence along text.
nlohmann::ordered_json SideJson(const plans::Metrics& metrics, const plans::TextDivergence* text) {
  nlohmann::ordered_json json = MetricsJson(FromProto(metrics));
  std::optional<TextDivergence> divergence;
  if (text != nullptr) divergence = FromProto(*text);
  json.update(TextDivergenceJson(divergence));
  return json;
}

nlohmann::ordered_json EvidenceJson(const plans::RecoveryEvidence& evidence) {
  const bool text = evidence.has_text_before();
  nlohmann::ordered_json json = {
      {"probes", evidence.probes()},
      {"completion_tokens", evidence.completion_tokens()},
      {"before", SideJson(evidence.before(), text ? &evidence.text_before() : nullptr)},
      {"after", SideJson(evidence.after(), text ? &evidence.text_after() : nullptr)},
      {"fdt_difference_ci", IntervalJson(evidence.fdt_difference())},
      {"kl_difference_ci", IntervalJson(evidence.kl_difference())}};
  if (text) json["text_kl_difference_ci"] = IntervalJson(evidence.text_kl_difference());
  return json;
}

// The kinds of a layer's matrices, in their order.
constexpr ComponentKind kKinds[kLayerMatrices] = {ComponentKind::kQ,
                                                  ComponentKind::kK,
                                                  ComponentKind::kV,
                                                  ComponentKind::kO,
                                                  ComponentKind::kGate,
                                                  ComponentKind::kUp,
                                                  ComponentKind::kDown};

// By layer and kind of matrix. A matrix without an error has no SQNR.
nlohmann::ordered_json ProfileJson(const GradientProfile& profile) {
  nlohmann::ordered_json json = {
      {"step", profile.step}, {"loss", profile.loss}, {"layers", nlohmann::ordered_json::array()}};
  for (const auto& layer : profile.layers) {
    nlohmann::ordered_json kinds;
    for (int i = 0; i < kLayerMatrices; ++i) {
      nlohmann::ordered_json signal = {{"gradient_norm", layer[i].gradient_norm}};
      if (std::isfinite(layer[i].sqnr_db)) signal["sqnr_db"] = layer[i].sqnr_db;
      kinds[ComponentKindName(kKinds[i])] = signal;
    }
    json["layers"].push_back(std::move(kinds));
  }
  return json;
}

// Where the same command goes on, if anything was kept.
std::string Resumes(const std::string& out) {
  const std::string path = RecoveryFile::PathFor(out);
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return "";
  return absl::StrCat("; the same command resumes from ", path);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ParseRecoveryMethods(absl::string_view option,
                                                              const std::string& text) {
  std::vector<absl::string_view> known;
  for (const RecoveryMethod& method : RecoveryMethods()) known.push_back(method.name);
  std::vector<std::string> methods;
  for (const absl::string_view name : absl::StrSplit(text, ',')) {
    bool found = false;
    for (const absl::string_view other : known) found = found || other == name;
    if (!found) return InOption(option, UnknownName("method of recovery", name, known));
    methods.emplace_back(name);
  }
  return methods;
}

std::string DescribeRecoveryMethods() {
  std::string text;
  for (const RecoveryMethod& method : RecoveryMethods()) {
    absl::StrAppend(&text, text.empty() ? "" : ", ", method.name, " (", method.description, ")");
  }
  return text;
}

absl::StatusOr<RecoverReport> RunRecovery(const Model& model, const RecoverJobOptions& options) {
  InterruptGuard::SetMessage(
      "stopping at the next safe point, with the best so far; interrupt again to end at once");
  absl::StatusOr<RecoverReport> report = RunRecoverJob(model, options, ProcessProgress());
  ProcessProgress()->End();  // an interruption leaves its phase open
  if (absl::IsCancelled(report.status())) {
    return absl::CancelledError(absl::StrCat("interrupted", Resumes(options.out)));
  }
  if (report.ok() && !report->interrupted && !LastPass(report->plan)->complete()) {
    ProcessProgress()->Message(absl::StrCat("out of time", Resumes(options.out)));
  }
  return report;
}

absl::Status EndOf(const RecoverReport& report, const std::string& out) {
  if (!report.interrupted) return absl::OkStatus();
  return absl::CancelledError(absl::StrCat(
      "interrupted; ", out, " holds the best codes so far, marked incomplete", Resumes(out)));
}

nlohmann::ordered_json RecoveryJson(const plans::Plan& plan,
                                    std::span<const RecoveryStep> steps,
                                    const std::string& out,
                                    double seconds) {
  const plans::RecoveryPass& pass = *LastPass(plan);
  nlohmann::ordered_json json = {{"out", out},
                                 {"weights", RecoveredFileFor(out)},
                                 {"size_bytes", PlanSizeBytes(plan)},
                                 {"bits_per_weight", PlanBitsPerWeight(plan)},
                                 {"complete", pass.complete()},
                                 {"seconds", seconds},
                                 {"steps", nlohmann::ordered_json::array()}};
  for (int i = 0; i < pass.steps_size(); ++i) {
    const plans::RecoveryStep& step = pass.steps(i);
    nlohmann::ordered_json entry = {{"method", step.method()},
                                    {"steps", step.steps()},
                                    {"loss_before", step.loss_before()},
                                    {"loss_after", step.loss_after()},
                                    {"loss_trained", nullptr},
                                    {"diverged", step.diverged()}};
    if (!step.diverged()) entry["loss_trained"] = step.loss_trained();
    if (static_cast<size_t>(i) < steps.size()) {
      for (const GradientProfile& profile : steps[i].profiles) {
        entry["profiles"].push_back(ProfileJson(profile));
      }
    }
    json["steps"].push_back(std::move(entry));
  }
  const plans::RecoveryData& data = pass.data();
  json["data"] = {{"text_sequences", data.text_sequences()},
                  {"sampled_sequences", data.sampled_sequences()},
                  {"kept_aside", data.kept_aside()},
                  {"tokens", data.tokens()}};
  if (pass.has_held_out()) json["held_out"] = EvidenceJson(pass.held_out());
  return json;
}

}  // namespace bitbudget
