#include "plans/render_internal.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "plans/evidence.h"
#include "plans/text_table.h"

namespace bitbudget::internal {
namespace {

// A value and its interval, as two cells.
void AddCells(double value,
              const plans::Interval& interval,
              int digits,
              std::vector<std::string>* cells) {
  cells->push_back(absl::StrFormat("%.*f", digits, value));
  cells->push_back(
      absl::StrFormat("[%.*f, %.*f]", digits, interval.low(), digits, interval.high()));
}

// The lines of what was measured along text, each if any column has it.
void AddTextRows(const std::vector<MetricsColumn>& columns, TextTable* table) {
  std::vector<std::string> kl = {"text KL, nats"};
  std::vector<std::string> kl_999 = {"text KL 99.9 %, nats"};
  std::vector<std::string> top1 = {"text top token, %"};
  bool any = false, any_999 = false;
  for (const MetricsColumn& column : columns) {
    if (column.text == nullptr) {
      for (std::vector<std::string>* row : {&kl, &kl_999, &top1}) row->insert(row->end(), 2, "");
      continue;
    }
    any = true;
    const plans::TextDivergence& text = *column.text;
    AddCells(text.kl_mean(), text.kl_interval(), 5, &kl);
    if (text.has_kl_999()) {
      any_999 = true;
      AddCells(text.kl_999(), text.kl_999_interval(), 5, &kl_999);
    } else {
      kl_999.insert(kl_999.end(), 2, "");
    }
    plans::Interval percent;
    percent.set_low(100 * text.top1_interval().low());
    percent.set_high(100 * text.top1_interval().high());
    AddCells(100 * text.top1_agreement(), percent, 2, &top1);
  }
  if (!any) return;
  table->AddRow(std::move(kl));
  if (any_999) table->AddRow(std::move(kl_999));
  table->AddRow(std::move(top1));
}

}  // namespace

void AddLine(std::string* text, const char* label, const std::string& value) {
  absl::StrAppendFormat(text, "%-*s%s\n", kLabelColumns, label, value);
}

void AddWarnings(std::string* text, const plans::Plan& plan, const std::string& whose) {
  if (!plan.complete()) {
    AddLine(text, "WARNING", whose + "the search was interrupted: this is the best plan it had");
  }
  if (const plans::RecoveryPass* pass = LastPass(plan); pass != nullptr && !pass->complete()) {
    AddLine(text, "WARNING", whose + "the recovery ended early: these are the best codes it had");
  }
  if (plan.held_out().uniform_emitted()) {
    AddLine(text,
            "WARNING",
            whose + "the search found nothing better than uniform: this is the uniform assignment");
  }
}

std::string MetricsTable(const std::vector<MetricsColumn>& columns, int width) {
  using plans::Interval;
  using plans::Metrics;
  using Align = TextTable::Align;
  struct Row {
    const char* label;
    int digits;
    double (Metrics::*value)() const;
    const Interval& (Metrics::*interval)() const;
    bool (Metrics::*has_interval)() const;
  };
  static constexpr Row kRows[] = {
      {"FDT mean, tokens",
       1,
       &Metrics::fdt_mean,
       &Metrics::fdt_interval,
       &Metrics::has_fdt_interval},
      {"FDT 75 %, tokens",
       1,
       &Metrics::fdt_75,
       &Metrics::fdt_75_interval,
       &Metrics::has_fdt_75_interval},
      {"SDT mean, tokens",
       2,
       &Metrics::sdt_mean,
       &Metrics::sdt_interval,
       &Metrics::has_sdt_interval},
      {"divergent perplexity",
       4,
       &Metrics::dppl,
       &Metrics::dppl_interval,
       &Metrics::has_dppl_interval},
      {"KL mean, nats", 5, &Metrics::kl_mean, &Metrics::kl_interval, &Metrics::has_kl_interval},
  };
  TextTable table({Align::kLeft,
                   Align::kRight,
                   Align::kLeft,
                   Align::kRight,
                   Align::kLeft,
                   Align::kRight,
                   Align::kLeft});
  // A value and its interval are two cells, so that the points of all values line up.
  std::vector<std::string> header = {""};
  for (const MetricsColumn& column : columns) header.insert(header.end(), {"", column.title});
  table.AddRow(header);
  for (const Row& row : kRows) {
    std::vector<std::string> cells = {row.label};
    for (const MetricsColumn& column : columns) {
      const Metrics& m = *column.metrics;
      cells.push_back(absl::StrFormat("%.*f", row.digits, (m.*row.value)()));
      const Interval& interval = (m.*row.interval)();
      cells.push_back(
          (m.*row.has_interval)()
              ? absl::StrFormat(
                    "[%.*f, %.*f]", row.digits, interval.low(), row.digits, interval.high())
              : "");
    }
    table.AddRow(std::move(cells));
  }
  std::vector<std::string> agreement = {"same top token, %"};
  for (const MetricsColumn& column : columns) {
    const Metrics& m = *column.metrics;
    agreement.push_back(absl::StrFormat("%.2f", 100 * m.top1_agreement()));
    agreement.push_back(m.has_top1_interval() ? absl::StrFormat("[%.2f, %.2f]",
                                                                100 * m.top1_interval().low(),
                                                                100 * m.top1_interval().high())
                                              : "");
  }
  table.AddRow(std::move(agreement));
  AddTextRows(columns, &table);
  return table.ToString(/*indent=*/2, width, /*together=*/2);
}

std::string ProbesLine(const plans::Options& o) {
  return absl::StrCat(o.held_out_probes(),
                      " probes from ",
                      o.probe_source(),
                      ", ",
                      o.completion_tokens(),
                      " tokens after ",
                      o.prefix_tokens(),
                      ", unseen by the search; 95 % intervals");
}

std::string TextLine(const plans::Options& o, const plans::HeldOut& held_out) {
  if (!held_out.has_plan_text()) return "";
  return absl::StrCat("text: along the prompts",
                      o.probe_source() == "model" ? ", which the model sampled" : "",
                      ", all tokens from the 17th on");
}

}  // namespace bitbudget::internal
