#include "plans/render.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "plans/fit_lines.h"
#include "plans/pinned.h"
#include "plans/render_internal.h"
#include "plans/text_table.h"
#include "plans/validate.h"
#include "plans/verdict.h"

namespace bitbudget {
namespace {

using Align = TextTable::Align;
using internal::AddLine;
using internal::AddWarnings;
using internal::MetricsColumn;
using internal::MetricsTable;
using internal::ProbesLine;
using internal::TextLine;

constexpr std::array<const char*, 7> kLayerKinds = {"q", "k", "v", "o", "gate", "up", "down"};

// "int4z-g64" as "4zg64", so that seven formats fit on a line.
std::string ShortFormat(const std::string& format) {
  return absl::StrReplaceAll(format, {{"int", ""}, {"-", ""}});
}

std::string BitsPerWeight(int64_t bytes, int64_t weights) {
  return absl::StrFormat(
      "%.3f", weights > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(weights) : 0.0);
}

double Percent(int64_t part, int64_t whole) {
  return whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0.0;
}

// Whether 0 lies outside the interval of a paired difference, and on which side.
std::string SideOf(const plans::Interval& difference, bool larger_is_better) {
  if (difference.low() <= 0 && difference.high() >= 0) return "no significant difference";
  return (difference.low() > 0) == larger_is_better ? "better than uniform" : "worse than uniform";
}

std::string BudgetLine(const plans::Budget& budget) {
  std::string line = absl::StrCat(budget.requested(), ": ");
  if (budget.total_bytes() == 0) {
    return absl::StrCat(line, WithThousands(budget.bytes()), " bytes");
  }
  absl::StrAppend(&line, WithThousands(budget.total_bytes()), " bytes for ");
  absl::StrAppend(&line, budget.counts(), " = weights ", WithThousands(budget.bytes()));
  if (budget.context() > 0) {
    absl::StrAppend(&line, " + keys and values ", WithThousands(budget.kv_cache_bytes()));
    absl::StrAppend(&line, " (", budget.context(), " positions, ", budget.kv_type(), ")");
    absl::StrAppend(&line, " + buffers ", WithThousands(budget.compute_bytes()));
  }
  if (budget.file_overhead_bytes() > 0) {
    absl::StrAppend(&line, " + metadata, tokenizer ", WithThousands(budget.file_overhead_bytes()));
  }
  return line;
}

// What the held-out probes say of the goal, and of the next smaller plan.
void AddGoal(const plans::Goal& goal, std::string* text) {
  AddLine(text,
          "goal",
          absl::StrFormat("%s: %.4g [%.4g, %.4g] on held-out probes, %.1f %% of the bound to spare",
                          goal.requested(),
                          goal.value(),
                          goal.interval().low(),
                          goal.interval().high(),
                          100 * goal.margin()));
  if (goal.trials().empty() || goal.trials().rbegin()->met()) return;
  const plans::GoalTrial& missed = *goal.trials().rbegin();
  AddLine(text,
          "",
          absl::StrFormat("%s bytes miss it: %.4g [%.4g, %.4g]",
                          WithThousands(missed.size_bytes()),
                          missed.value(),
                          missed.interval().low(),
                          missed.interval().high()));
}

std::string HeldOutSection(const plans::Plan& plan, int width) {
  const plans::HeldOut& held_out = plan.held_out();
  std::string text;
  if (!held_out.has_plan()) {
    AddLine(&text,
            "held out",
            ChangesNothing(plan) ? "nothing to measure: every matrix stays as it is stored"
                                 : "not measured");
    return text;
  }
  AddLine(&text, "held out", ProbesLine(plan.options()));
  // A plan that fell back to uniform still shows what the search found.
  const std::string along = TextLine(plan.options(), held_out);
  if (!along.empty()) AddLine(&text, "", along);
  const char* found = held_out.uniform_emitted() ? "search's result"
                      : plan.has_recovery()      ? "plan, not recovered"
                                                 : "plan";
  std::vector<MetricsColumn> columns = {
      {found, &held_out.plan(), held_out.has_plan_text() ? &held_out.plan_text() : nullptr}};
  if (held_out.has_uniform()) {
    columns.push_back({"uniform " + held_out.uniform_format(),
                       &held_out.uniform(),
                       held_out.has_uniform_text() ? &held_out.uniform_text() : nullptr});
  }
  if (held_out.has_noise_floor()) columns.push_back({"noise floor", &held_out.noise_floor()});
  text += MetricsTable(columns, width);
  if (!held_out.has_uniform()) {
    AddLine(
        &text, "uniform", "none to compare with: none fits the budget, or everything is pinned");
    return text;
  }
  AddLine(&text,
          "uniform",
          absl::StrCat(held_out.uniform_format(),
                       " takes ",
                       WithThousands(held_out.uniform_size_bytes()),
                       " bytes; ",
                       columns[0].title,
                       " minus uniform, paired over probes:"));
  const plans::Interval& fdt = held_out.fdt_difference();
  const plans::Interval& kl = held_out.kl_difference();
  AddLine(
      &text,
      "",
      absl::StrFormat("FDT [%+.1f, %+.1f] tokens: %s", fdt.low(), fdt.high(), SideOf(fdt, true)));
  AddLine(&text,
          "",
          absl::StrFormat("KL [%+.5f, %+.5f] nats: %s", kl.low(), kl.high(), SideOf(kl, false)));
  if (held_out.has_text_kl_difference()) {
    const plans::Interval& along = held_out.text_kl_difference();
    AddLine(
        &text,
        "",
        absl::StrFormat(
            "text KL [%+.5f, %+.5f] nats: %s", along.low(), along.high(), SideOf(along, false)));
  }
  return text;
}

std::string LayerTable(const plans::Plan& plan, int width) {
  TextTable table({Align::kLeft,
                   Align::kLeft,
                   Align::kLeft,
                   Align::kLeft,
                   Align::kLeft,
                   Align::kLeft,
                   Align::kLeft,
                   Align::kLeft,
                   Align::kRight});
  constexpr size_t kBytesColumn = 1 + kLayerKinds.size();
  std::vector<std::string> header = {"layer"};
  header.insert(header.end(), kLayerKinds.begin(), kLayerKinds.end());
  header.insert(header.end(), {"bytes", "bits/weight"});
  table.AddRow(std::move(header));

  std::vector<std::string> row;
  int64_t bytes = 0;
  int64_t weights = 0;
  bool any_pinned = false;
  const auto finish_row = [&] {
    row.resize(kBytesColumn);
    row.push_back(WithThousands(bytes));
    row.push_back(weights > 0 ? BitsPerWeight(bytes, weights) : "");
    table.AddRow(std::move(row));
    row.clear();
    bytes = weights = 0;
  };
  for (int i = 0; i < plan.components_size(); ++i) {
    const plans::Component& c = plan.components(i);
    bytes += c.size_bytes();
    weights += c.rows() * c.cols();
    const bool pinned = IsPinned(plan, c);
    any_pinned = any_pinned || pinned;
    const std::string format = absl::StrCat(ShortFormat(c.format()), pinned ? "*" : "");
    if (c.layer() < 0) {
      row = {absl::StrCat(c.kind(), " ", format)};
    } else {
      row.resize(kBytesColumn);
      row[0] = absl::StrCat(c.layer());
      const auto kind = std::find(kLayerKinds.begin(), kLayerKinds.end(), c.kind());
      if (kind != kLayerKinds.end()) row[1 + (kind - kLayerKinds.begin())] = format;
    }
    const bool last = i + 1 == plan.components_size();
    if (last || c.layer() < 0 || plan.components(i + 1).layer() != c.layer()) finish_row();
  }
  row = {"norms, biases"};
  bytes = plan.model().fixed_bytes();
  finish_row();
  row = {"all"};
  bytes = PlanSizeBytes(plan);
  weights = plan.model().parameter_count();
  finish_row();
  return absl::StrCat(table.ToString(/*indent=*/0, width), any_pinned ? "* pinned\n" : "");
}

std::string FormatLegend(const plans::Plan& plan, int width) {
  struct Use {
    int64_t components = 0;
    int64_t weights = 0;
    int64_t bytes = 0;
  };
  std::map<std::string, Use> uses;
  for (const plans::Component& c : plan.components()) {
    Use& use = uses[c.format()];
    ++use.components;
    use.weights += c.rows() * c.cols();
    use.bytes += c.size_bytes();
  }
  TextTable table({Align::kLeft, Align::kLeft, Align::kRight});
  table.AddRow({"format", "", "components", "weights", "bytes"});
  for (const auto& [format, use] : uses) {
    table.AddRow({ShortFormat(format),
                  format,
                  absl::StrCat(use.components),
                  absl::StrFormat("%.1f %%", Percent(use.weights, plan.model().parameter_count())),
                  WithThousands(use.bytes)});
  }
  return table.ToString(/*indent=*/0, width);
}

}  // namespace

std::string RenderPlan(const plans::Plan& plan, int width) {
  const plans::Options& o = plan.options();
  const int64_t size = PlanSizeBytes(plan);
  std::string text;
  AddLine(&text,
          "model",
          absl::StrCat(plan.model().architecture(),
                       ", ",
                       WithThousands(plan.model().parameter_count()),
                       " weights, ",
                       WithThousands(plan.model().stored_bytes()),
                       " bytes as stored"));
  AddLine(&text, "fingerprint", plan.model().fingerprint());
  AddLine(&text, "budget", BudgetLine(plan.budget()));
  if (plan.has_goal()) AddGoal(plan.goal(), &text);
  AddLine(&text,
          "size",
          absl::StrFormat("%s bytes, %.3f bits per weight, %.2f %% of the budget",
                          WithThousands(size),
                          PlanBitsPerWeight(plan),
                          Percent(size, plan.budget().bytes())));
  if (const std::string verdict = Verdict(plan); !verdict.empty()) {
    AddLine(
        &text,
        "verdict",
        plan.held_out().uniform_emitted() ? absl::StrCat("search's result: ", verdict) : verdict);
  }
  AddLine(
      &text,
      "search",
      absl::StrCat(o.search(),
                   o.scorer().empty() ? "" : " by ",
                   o.scorer(),
                   o.method().order().empty()
                       ? ""
                       : absl::StrCat(" of ", o.method().beam_width(), " by ", o.method().order()),
                   o.method().costs().empty() ? "" : ", costs by ",
                   o.method().costs(),
                   " for ",
                   o.objective(),
                   ", encoder ",
                   o.encoder(),
                   o.pruning().empty() ? "" : ", pruning by ",
                   o.pruning(),
                   ", activations ",
                   o.activations(),
                   o.target().empty() ? "" : ", for ",
                   o.target(),
                   "; ",
                   WithThousands(plan.search().candidates()),
                   " candidates, ",
                   WithThousands(plan.search().rounds()),
                   " rounds"));
  if (!plan.search().note().empty()) AddLine(&text, "note", plan.search().note());
  AddLine(
      &text, "written by", absl::StrCat("bitbudget ", plan.tool_version(), ", seed ", o.seed()));
  AddWarnings(&text, plan, "");
  const std::string recovery = RenderRecovery(plan, width);
  text = absl::StrCat(text,
                      "\n",
                      HeldOutSection(plan, width),
                      "\n",
                      recovery,
                      recovery.empty() ? "" : "\n",
                      LayerTable(plan, width),
                      "\n",
                      FormatLegend(plan, width));
  return FitLines(text, width, internal::kLabelColumns);
}

}  // namespace bitbudget
