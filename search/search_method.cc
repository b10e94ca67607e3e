#include "search/search_method.h"

#include "absl/strings/str_format.h"

namespace bitbudget {

const char* SearchOutcomeName(SearchOutcome outcome) {
  switch (outcome) {
    case SearchOutcome::kBudgetMet:
      return "budget met";
    case SearchOutcome::kInfeasible:
      return "infeasible";
    case SearchOutcome::kInterrupted:
      return "interrupted";
  }
  return "unknown";
}

std::string SearchSummary::BriefReport() const {
  std::string report = absl::StrFormat("%s: %d candidates, %d rounds, %d accepted steps",
                                       SearchOutcomeName(outcome),
                                       candidates,
                                       rounds,
                                       trace.size());
  if (assignment.empty()) return report;
  absl::StrAppendFormat(&report, ", %d bytes", size_bytes);
  if (!evaluation.empty()) {
    absl::StrAppendFormat(&report,
                          ", FDT %.1f, DPPL %.4f, KL %.5f on the search probes",
                          Compute(Statistic::kFdtMean, evaluation),
                          Compute(Statistic::kDppl, evaluation),
                          Compute(Statistic::kKlMean, evaluation));
  }
  return report;
}

}  // namespace bitbudget
