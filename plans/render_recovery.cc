#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "plans/evidence.h"
#include "plans/fit_lines.h"
#include "plans/render.h"
#include "plans/render_internal.h"
#include "plans/text_table.h"

namespace bitbudget {
namespace {

using internal::AddLine;
using internal::MetricsTable;

// What became of a method's result.
std::string Ending(const plans::RecoveryStep& step) {
  if (step.diverged()) return " (diverged, not taken)";
  if (step.loss_after() < step.loss_before()) return "";
  if (step.loss_after() > step.loss_before()) return " (worse, and taken as asked)";
  return absl::StrFormat(" (trained %.5g, not taken)", step.loss_trained());
}

std::string StepLine(const plans::RecoveryStep& step) {
  return absl::StrFormat("by %s, %s steps: KL on what was kept aside %.5g, before %.5g nats%s",
                         step.method(),
                         WithThousands(step.steps()),
                         step.loss_after(),
                         step.loss_before(),
                         Ending(step));
}

std::string DataLine(const plans::RecoveryPass& pass) {
  const plans::RecoveryData& data = pass.data();
  return absl::StrCat("on ",
                      WithThousands(data.tokens()),
                      " tokens in ",
                      data.text_sequences(),
                      " sequences of text and ",
                      data.sampled_sequences(),
                      " that the model wrote, ",
                      data.kept_aside(),
                      " of them kept aside; seed ",
                      pass.seed());
}

std::string DifferenceLine(const char* what, const char* over, const plans::Interval& difference) {
  const char* verdict = difference.high() < 0  ? "better than before"
                        : difference.low() > 0 ? "worse than before"
                                               : "no significant difference";
  return absl::StrFormat("%s after minus before, paired over %s: [%+.5f, %+.5f] nats: %s",
                         what,
                         over,
                         difference.low(),
                         difference.high(),
                         verdict);
}

std::string EvidenceText(const plans::RecoveryEvidence& evidence, int width) {
  std::string text;
  AddLine(&text,
          "recovery",
          absl::StrCat(evidence.probes(),
                       " probes from ",
                       evidence.probe_source(),
                       ", ",
                       evidence.completion_tokens(),
                       " tokens after ",
                       evidence.prefix_tokens(),
                       ", unseen by the training; 95 % intervals"));
  const bool along_text = evidence.has_text_before();
  text += MetricsTable(
      {{"before", &evidence.before(), along_text ? &evidence.text_before() : nullptr},
       {"recovered", &evidence.after(), along_text ? &evidence.text_after() : nullptr}},
      width);
  AddLine(&text, "", DifferenceLine("KL", "probes", evidence.kl_difference()));
  if (along_text) {
    AddLine(&text, "", DifferenceLine("text KL", "probes", evidence.text_kl_difference()));
  }
  return text;
}

}  // namespace

std::string RenderRecovery(const plans::Plan& plan, int width) {
  if (!plan.has_recovery()) return "";
  std::string text;
  const char* label = "recovered";
  for (const plans::RecoveryPass& pass : plan.recovery().passes()) {
    for (const plans::RecoveryStep& step : pass.steps()) {
      AddLine(&text, label, StepLine(step));
      label = "";
    }
    AddLine(&text, "", DataLine(pass));
  }
  if (plan.recovery().transformed()) {
    AddLine(
        &text, "", "with an equivalent transformation, so codes are not of the model's weights");
  }
  AddLine(&text, "codes", absl::StrCat("in ", plan.recovery().weights_file(), ", beside the plan"));
  const plans::RecoveryPass* last = LastPass(plan);
  if (last != nullptr && last->has_held_out()) {
    absl::StrAppend(&text, "\n", EvidenceText(last->held_out(), width));
  }
  return FitLines(text, width, internal::kLabelColumns);
}

}  // namespace bitbudget
