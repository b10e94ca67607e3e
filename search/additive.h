#ifndef BITBUDGET_SEARCH_ADDITIVE_H_
#define BITBUDGET_SEARCH_ADDITIVE_H_

#include <memory>

#include "search/exact_fill.h"
#include "search/search_method.h"

namespace bitbudget {

class SearchRun;

// The divergence (mean KL) of each component in each format of its ladder alone, everything else
// as in the reference, in component and ladder order: one evaluation each after one of the
// reference. A format that the component has in the reference needs none (it is the reference's
// value); pinned components are not measured, as nothing depends on them. Leaves the reference as
// the incumbent. On interruption kCancelled.
absl::StatusOr<std::vector<AloneDivergence>> MeasureAlone(const SearchContext& context);

// The same inside a search: counted and shown there.
absl::StatusOr<std::vector<AloneDivergence>> MeasureAlone(const Assignment& reference,
                                                          SearchRun& run);

// `alone` as a table over the problem's ladders. Choices that were not measured cost 0; a
// divergence that is not finite counts as 1000 nats, which is more than finite logits give, so that
// a choice is a last resort rather than forbidden.
CostTable AloneCosts(const SearchProblem& problem, const std::vector<AloneDivergence>& alone);

// Measures every component in every format alone, then minimises the sum under the budget and runs
// the result once. Exact when divergences add up; they do not quite (docs/search.md).
std::unique_ptr<SearchMethod> MakeAdditiveSearch();

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_ADDITIVE_H_
