#ifndef BITBUDGET_SEARCH_EXACT_FILL_H_
#define BITBUDGET_SEARCH_EXACT_FILL_H_

#include <vector>

#include "search/problem.h"

namespace bitbudget {

// cost[c][i]: the predicted loss of unit c on ladder choice i. Infinite (or NaN): not allowed.
using CostTable = std::vector<std::vector<double>>;

// Minimises the sum of costs under the byte budget (the multiple-choice knapsack problem).
//   1. The Lagrangian sweep: steps along the units' lower convex hulls in (bytes, cost), best
//      saving per byte first. It gives a feasible selection, the multiplier of the first step that
//      does not fit, and with it a lower bound.
//   2. The exact fill: a list of undominated partial selections, unit by unit, without
//      those whose Lagrangian excess already is larger than the gap that is left. It sees what the
//      hulls cannot and uses up the bytes.
// The result is optimal whenever `proven` is set, up to the rounding of the sums. The list is cut
// at 2^15 entries; then the result is the best that was found, and `lower_bound` says how far the
// optimum can be.
struct FillResult {
  Selection selection;  // empty: nothing fits
  double cost = 0;      // of `selection`, summed in unit order
  double lower_bound = 0;
  bool proven = false;
};
FillResult FillBudget(const SearchProblem& problem, const CostTable& cost);

// FillBudget's selection: one ladder index per unit; empty when nothing fits. Deterministic;
// equal sums go to fewer bytes.
Selection MinimizeSum(const SearchProblem& problem, const CostTable& cost);

// The ladder indices on the lower convex hull of (bytes, cost), by increasing bytes and strictly
// decreasing cost. Choices that are not allowed are left out; empty when none is allowed.
std::vector<int> LowerHull(const std::vector<Choice>& ladder, const std::vector<double>& cost);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_EXACT_FILL_H_
