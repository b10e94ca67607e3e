#ifndef BITBUDGET_PLANS_RENDER_INTERNAL_H_
#define BITBUDGET_PLANS_RENDER_INTERNAL_H_

#include <string>
#include <vector>

#include "plans/plan.pb.h"

// Shared by the texts about one plan and about two.
namespace bitbudget::internal {

inline constexpr int kLabelColumns = 12;

// Appends "label       value\n".
void AddLine(std::string* text, const char* label, const std::string& value);

// A line for every reason why the plan is not what its search aimed at; each starts with `whose`.
void AddWarnings(std::string* text, const plans::Plan& plan, const std::string& whose);

// How the held-out metrics were measured: probes and their lengths.
std::string ProbesLine(const plans::Options& options);

// What text is measured along; empty where it was not.
std::string TextLine(const plans::Options& options, const plans::HeldOut& held_out);

struct MetricsColumn {
  std::string title;
  const plans::Metrics* metrics;
  const plans::TextDivergence* text = nullptr;  // null: not measured
};

// A line per metric and a column per entry, with intervals where there are any; for a terminal of
// `width` columns (TextTable).
std::string MetricsTable(const std::vector<MetricsColumn>& columns, int width = 0);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_RENDER_INTERNAL_H_
