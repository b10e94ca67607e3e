#ifndef BITBUDGET_SEARCH_ADDITIVE_H_
#define BITBUDGET_SEARCH_ADDITIVE_H_

#include <memory>

#include "search/exact_fill.h"
#include "search/search_method.h"

namespace bitbudget {

class SearchSession;

// What every choice costs alone (mean KL, everything else as in the reference), and what of it was
// measured.
struct AloneCosts {
  CostTable cost;  // rows as the ladders; 0 for pinned units, on which nothing depends
  std::vector<AloneDivergence> measured;
};

// Measures units alone, after one evaluation of the reference; a format that a unit has in the
// reference needs no run. Leaves the reference as the incumbent. On interruption kCancelled.
//   Without the context's errors: every unit in every format of its ladder, on all probes.
//   With them: screened, one choice of every unit first, which together with its error
//   predicts the others (Surrogate); then those that the least sum of predictions under the budget
//   would take, with what was not measured taken as lower by the model's uncertainty, until all of
//   them were. So measurements go where they can change the plan. Their work ends at 1.3
//   evaluations on all probes per unit.
// A divergence that is not finite counts as 1000 nats, which is more than finite logits give, so
// that a choice is a last resort rather than forbidden.
absl::StatusOr<AloneCosts> MeasureAlone(const SearchContext& context,
                                        double evaluations_per_unit,
                                        SearchSession& session);

// Measures units alone (or takes the context's estimates of that as they are, and measures
// nothing), then minimises the sum under the budget and runs the result once. Exact when
// divergences add up; they do not quite (docs/search.md).
std::unique_ptr<SearchMethod> MakeAdditiveSearch();

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_ADDITIVE_H_
