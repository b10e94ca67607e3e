#ifndef BITBUDGET_SEARCH_ADDITIVE_H_
#define BITBUDGET_SEARCH_ADDITIVE_H_

#include <memory>

#include "search/exact_fill.h"
#include "search/search_method.h"

namespace bitbudget {

// The divergence (mean KL) of each component in each format of its ladder alone, everything else
// as in the reference: one evaluation each. `alone` of the summary holds them; on interruption
// kCancelled.
absl::StatusOr<std::vector<AloneDivergence>> MeasureAlone(const SearchContext& context);

// `alone` as a table over the problem's ladders.
CostTable AloneCosts(const SearchProblem& problem, const std::vector<AloneDivergence>& alone);

// Measures every component in every format alone, then minimises the sum under the budget.
std::unique_ptr<SearchMethod> MakeAdditiveSearch();

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_ADDITIVE_H_
