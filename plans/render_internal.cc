#include "plans/render_internal.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "plans/text_table.h"

namespace bitbudget::internal {

void AddLine(std::string* text, const char* label, const std::string& value) {
  absl::StrAppendFormat(text, "%-12s%s\n", label, value);
}

void AddWarnings(std::string* text, const plans::Plan& plan, const std::string& whose) {
  if (!plan.complete()) {
    AddLine(text, "WARNING", whose + "the search was interrupted: this is the best plan it had");
  }
  if (plan.held_out().uniform_emitted()) {
    AddLine(text,
            "WARNING",
            whose + "the search found nothing better than uniform: this is the uniform assignment");
  }
}

std::string MetricsTable(const std::vector<MetricsColumn>& columns) {
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
    agreement.push_back(absl::StrFormat("%.2f", 100 * column.metrics->top1_agreement()));
    agreement.push_back("");
  }
  table.AddRow(std::move(agreement));
  return table.ToString(/*indent=*/2);
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

}  // namespace bitbudget::internal
