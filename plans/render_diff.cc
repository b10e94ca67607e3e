#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "plans/evidence.h"
#include "plans/fit_lines.h"
#include "plans/render.h"
#include "plans/render_internal.h"
#include "plans/text_table.h"
#include "plans/validate.h"

namespace bitbudget {
namespace {

using Align = TextTable::Align;
using internal::AddLine;
using internal::AddWarnings;
using internal::MetricsColumn;
using internal::MetricsTable;
using internal::ProbesLine;
using internal::TextLine;

// How the probes of two plans differ; empty if both measured on the same ones.
std::string ProbeDifference(const plans::Options& a, const plans::Options& b) {
  std::vector<std::string> differences;
  const auto compare = [&](const char* what, const auto& left, const auto& right) {
    if (left != right) differences.push_back(absl::StrCat(what, " ", left, " and ", right));
  };
  compare("source", a.probe_source(), b.probe_source());
  if (a.probe_fingerprint() != b.probe_fingerprint()) differences.push_back("different text");
  compare("seed", a.seed(), b.seed());
  compare("search probes", a.search_probes(), b.search_probes());
  compare("held-out probes", a.held_out_probes(), b.held_out_probes());
  compare("prefix", a.prefix_tokens(), b.prefix_tokens());
  compare("completion", a.completion_tokens(), b.completion_tokens());
  return absl::StrJoin(differences, ", ");
}

std::string DiffHeadline(const plans::Plan& plan, const std::string& name) {
  return absl::StrFormat("%s: %s for %s%s, %s bytes, %.3f bits per weight (budget %s)",
                         name,
                         plan.options().search(),
                         plan.options().objective(),
                         plan.has_recovery() ? ", recovered" : "",
                         WithThousands(PlanSizeBytes(plan)),
                         PlanBitsPerWeight(plan),
                         plan.budget().requested());
}

// The options of the probes that these were measured on.
plans::Options MeasuredProbes(const plans::Plan& plan) {
  plans::Options options = plan.options();
  const plans::RecoveryPass* pass = LastPass(plan);
  if (pass == nullptr) return options;
  const plans::RecoveryEvidence& evidence = pass->held_out();
  options.set_probe_source(evidence.probe_source());
  options.set_probe_fingerprint(evidence.probe_fingerprint());
  options.set_held_out_probes(evidence.probes());
  options.set_prefix_tokens(evidence.prefix_tokens());
  options.set_completion_tokens(evidence.completion_tokens());
  options.set_seed(pass->seed());
  return options;
}

// Which codes a component has, for people: format, encoder and recovery.
std::string Codes(const plans::Component& c, const plans::Plan& plan) {
  const bool recovered = plan.has_recovery() && !c.encoder().empty();
  return absl::StrCat(c.format(), " ", c.encoder(), recovered ? ", recovered" : "");
}

std::string SignedThousands(int64_t value) {
  return absl::StrCat(value > 0 ? "+" : "", WithThousands(value));
}

}  // namespace

absl::StatusOr<std::string> RenderDiff(const plans::Plan& a,
                                       const std::string& a_name,
                                       const plans::Plan& b,
                                       const std::string& b_name,
                                       int width) {
  if (a.model().fingerprint() != b.model().fingerprint()) {
    return absl::InvalidArgumentError(absl::StrCat("the plans are for different models: ",
                                                   a_name,
                                                   " is for ",
                                                   a.model().fingerprint(),
                                                   ", ",
                                                   b_name,
                                                   " for ",
                                                   b.model().fingerprint()));
  }
  bool same_components = a.components_size() == b.components_size();
  for (int i = 0; same_components && i < a.components_size(); ++i) {
    same_components = a.components(i).name() == b.components(i).name();
  }
  if (!same_components) {
    return absl::InvalidArgumentError(absl::StrCat(
        a_name, " and ", b_name, " list different components for the same model fingerprint"));
  }

  std::string text;
  AddLine(&text, "A", DiffHeadline(a, a_name));
  AddLine(&text, "B", DiffHeadline(b, b_name));
  AddWarnings(&text, a, "A: ");
  AddWarnings(&text, b, "B: ");

  TextTable table({Align::kLeft, Align::kLeft, Align::kLeft, Align::kRight});
  table.AddRow({"component", "A", "B", "bytes"});
  int differing = 0;
  for (int i = 0; i < a.components_size(); ++i) {
    const plans::Component& left = a.components(i);
    const plans::Component& right = b.components(i);
    const std::string left_codes = Codes(left, a), right_codes = Codes(right, b);
    const bool both_recovered = a.has_recovery() && b.has_recovery();
    const bool other_training = both_recovered && left.encoding_sha256() != right.encoding_sha256();
    if (left_codes == right_codes && !other_training) continue;
    const bool only_codes = left.format() == right.format();
    table.AddRow({left.name(),
                  only_codes ? left_codes : left.format(),
                  only_codes ? right_codes : right.format(),
                  SignedThousands(right.size_bytes() - left.size_bytes())});
    ++differing;
  }
  absl::StrAppend(&text,
                  "\n",
                  differing,
                  " of ",
                  a.components_size(),
                  " components differ, ",
                  SignedThousands(PlanSizeBytes(b) - PlanSizeBytes(a)),
                  " bytes\n");
  if (differing > 0) text += table.ToString(/*indent=*/2, width);

  text += "\n";
  const plans::Metrics* a_metrics = HeldOutMetrics(a);
  const plans::Metrics* b_metrics = HeldOutMetrics(b);
  if (a_metrics == nullptr || b_metrics == nullptr) {
    AddLine(&text, "held out", "not measured for both plans");
    return FitLines(text, width, internal::kLabelColumns);
  }
  AddLine(&text, "held out", ProbesLine(MeasuredProbes(a)));
  if (!a.has_recovery()) {
    const std::string along = TextLine(a.options(), a.held_out());
    if (!along.empty()) AddLine(&text, "", along);
  }
  const std::string probes = ProbeDifference(MeasuredProbes(a), MeasuredProbes(b));
  if (!probes.empty()) {
    AddLine(&text, "WARNING", "not comparable: A and B were measured on different probes:");
    AddLine(&text, "", probes);
  }
  text += MetricsTable({{"A", a_metrics, HeldOutText(a)}, {"B", b_metrics, HeldOutText(b)}}, width);
  return FitLines(text, width, internal::kLabelColumns);
}

}  // namespace bitbudget
