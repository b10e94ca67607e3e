#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
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
using internal::WindowsLine;

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
  return absl::StrFormat("%s: %s for %s, %s bytes, %.3f bits per weight (budget %s)",
                         name,
                         plan.options().search(),
                         plan.options().objective(),
                         WithThousands(PlanSizeBytes(plan)),
                         PlanBitsPerWeight(plan),
                         plan.budget().requested());
}

// Of the assignment that the plan lists.
MetricsColumn EmittedMetrics(const std::string& title, const plans::Plan& plan) {
  const plans::HeldOut& held_out = plan.held_out();
  const plans::TextDivergence& text =
      held_out.uniform_emitted() ? held_out.uniform_text() : held_out.plan_text();
  return {title,
          held_out.uniform_emitted() ? &held_out.uniform() : &held_out.plan(),
          held_out.has_plan_text() ? &text : nullptr};
}

std::string SignedThousands(int64_t value) {
  return absl::StrCat(value > 0 ? "+" : "", WithThousands(value));
}

}  // namespace

absl::StatusOr<std::string> RenderDiff(const plans::Plan& a,
                                       const std::string& a_name,
                                       const plans::Plan& b,
                                       const std::string& b_name) {
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
    if (left.format() == right.format() && left.encoder() == right.encoder()) continue;
    const bool only_encoder = left.format() == right.format();
    const auto label = [&](const plans::Component& c) {
      return only_encoder ? absl::StrCat(c.format(), " ", c.encoder()) : c.format();
    };
    table.AddRow({left.name(),
                  label(left),
                  label(right),
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
  if (differing > 0) text += table.ToString(/*indent=*/2);

  text += "\n";
  if (!a.held_out().has_plan() || !b.held_out().has_plan()) {
    AddLine(&text, "held out", "not measured for both plans");
    return text;
  }
  AddLine(&text, "held out", ProbesLine(a.options()));
  const std::string windows = WindowsLine(a.options(), a.held_out());
  if (!windows.empty()) AddLine(&text, "", windows);
  const std::string probes = ProbeDifference(a.options(), b.options());
  if (!probes.empty()) {
    AddLine(&text, "WARNING", "not comparable: A and B were measured on different probes:");
    AddLine(&text, "", probes);
  }
  text += MetricsTable({EmittedMetrics("A", a), EmittedMetrics("B", b)});
  return text;
}

}  // namespace bitbudget
