#include <algorithm>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "plans/validate_internal.h"
#include "runtime/base/status_macros.h"

namespace bitbudget::internal {
namespace {

// The name of a file, nothing that leads to another folder.
bool IsFileName(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos;
}

// The file has the codes of whatever has an encoder, and the plan their hashes.
absl::Status CheckHashes(const plans::Plan& plan) {
  for (int i = 0; i < plan.components_size(); ++i) {
    const plans::Component& c = plan.components(i);
    if (c.encoder().empty() == c.encoding_sha256().empty()) continue;
    return Bad(absl::StrCat("components[", i, "].encoding_sha256"),
               c.encoder().empty() ? "set for weights that stay as they are"
                                   : "missing from a recovered plan");
  }
  return absl::OkStatus();
}

absl::Status CheckSteps(const plans::RecoveryPass& pass, const std::string& path) {
  if (pass.steps().empty()) return Bad(path + "steps", "none");
  for (int i = 0; i < pass.steps_size(); ++i) {
    const plans::RecoveryStep& step = pass.steps(i);
    const std::string at = absl::StrCat(path, "steps[", i, "]");
    if (step.method().empty()) return Bad(at + ".method", "empty");
    if (step.loss_after() < -kNatsSlack) {
      return Bad(at + ".loss_after", step.loss_after(), " is negative");
    }
    if (step.loss_trained() < -kNatsSlack) {
      return Bad(at + ".loss_trained", step.loss_trained(), " is negative");
    }
    if (step.loss_after() > step.loss_before() && !pass.keep_worse()) {
      return Bad(
          at + ".loss_after", step.loss_after(), " is above ", step.loss_before(), " before");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckData(const plans::RecoveryData& data, const std::string& path) {
  const bool text = !data.text_fingerprint().empty();
  if (text != (data.text_sequences() > 0)) {
    return Bad(path + "text_sequences",
               data.text_sequences(),
               text ? ", but there is a text" : ", but there is no text");
  }
  if (text && !IsFingerprint(data.text_fingerprint())) {
    return Bad(path + "text_fingerprint",
               "'",
               data.text_fingerprint(),
               "' is not a SHA-256 in 64 lower-case hex digits");
  }
  const int64_t sequences = SaturatingAdd(data.text_sequences(), data.sampled_sequences());
  if (data.kept_aside() < 1 || data.kept_aside() >= sequences) {
    return Bad(path + "kept_aside", data.kept_aside(), " of ", sequences, " sequences");
  }
  if (data.tokens() < sequences) {
    return Bad(path + "tokens", data.tokens(), ", fewer than the ", sequences, " sequences");
  }
  return absl::OkStatus();
}

absl::Status CheckEvidence(const plans::RecoveryEvidence& evidence, const std::string& path) {
  BB_RETURN_IF_ERROR(CheckSource(
      evidence.probe_source(), evidence.probe_fingerprint(), absl::StrCat(path, "probe_")));
  const int64_t tokens = evidence.completion_tokens();
  BB_RETURN_IF_ERROR(
      CheckMetrics(evidence.before(), path + "before", tokens, Intervals::kRequired));
  BB_RETURN_IF_ERROR(CheckMetrics(evidence.after(), path + "after", tokens, Intervals::kRequired));
  constexpr double kAny = std::numeric_limits<double>::max();
  BB_RETURN_IF_ERROR(
      CheckInterval(evidence.fdt_difference(), path + "fdt_difference", -kAny, kAny));
  BB_RETURN_IF_ERROR(CheckInterval(evidence.kl_difference(), path + "kl_difference", -kAny, kAny));
  const bool text = evidence.has_text_before();
  if (evidence.has_text_after() != text || evidence.has_text_kl_difference() != text) {
    return Bad(path + "text_before",
               text ? "given" : "missing",
               ", but text_before, text_after and text_kl_difference are given together");
  }
  if (!text) return absl::OkStatus();
  BB_RETURN_IF_ERROR(CheckTextDivergence(evidence.text_before(), path + "text_before"));
  BB_RETURN_IF_ERROR(CheckTextDivergence(evidence.text_after(), path + "text_after"));
  return CheckInterval(evidence.text_kl_difference(), path + "text_kl_difference", -kAny, kAny);
}

}  // namespace

absl::Status CheckRecovery(const plans::Plan& plan) {
  if (!plan.has_recovery()) return absl::OkStatus();
  const plans::Recovery& recovery = plan.recovery();
  if (!IsFileName(recovery.weights_file())) {
    return Bad(
        "recovery.weights_file", "'", recovery.weights_file(), "' is not the name of a file");
  }
  if (!IsFingerprint(recovery.weights_sha256())) {
    return Bad("recovery.weights_sha256",
               "'",
               recovery.weights_sha256(),
               "' is not a SHA-256 in 64 lower-case hex digits");
  }
  BB_RETURN_IF_ERROR(CheckHashes(plan));
  if (recovery.passes().empty()) return Bad("recovery.passes", "none");
  if (recovery.transformed() && std::none_of(recovery.passes().begin(),
                                             recovery.passes().end(),
                                             [](const auto& pass) { return pass.transform(); })) {
    return Bad("recovery.transformed", "set, but no pass learned a transformation");
  }
  for (int i = 0; i < recovery.passes_size(); ++i) {
    const plans::RecoveryPass& pass = recovery.passes(i);
    const std::string path = absl::StrCat("recovery.passes[", i, "].");
    BB_RETURN_IF_ERROR(CheckSteps(pass, path));
    BB_RETURN_IF_ERROR(CheckData(pass.data(), path + "data."));
    if (pass.learning_rate() < 0) {
      return Bad(path + "learning_rate", pass.learning_rate(), " is negative");
    }
    if (pass.rate_factor() < 0) {
      return Bad(path + "rate_factor", pass.rate_factor(), " is negative");
    }
    if (pass.kl_weight() < 0 || pass.kl_weight() > 1) {
      return Bad(path + "kl_weight", pass.kl_weight(), " is outside [0, 1]");
    }
    if (pass.hidden_weight() < 0) {
      return Bad(path + "hidden_weight", pass.hidden_weight(), " is negative");
    }
    if (pass.batch() < 1) return Bad(path + "batch", pass.batch());
    if (pass.tool_version().empty()) return Bad(path + "tool_version", "empty");
    if (pass.has_held_out()) {
      BB_RETURN_IF_ERROR(CheckEvidence(pass.held_out(), path + "held_out."));
    } else if (pass.complete()) {
      return Bad(path + "held_out", "missing from a complete recovery");
    }
  }
  return absl::OkStatus();
}

}  // namespace bitbudget::internal
