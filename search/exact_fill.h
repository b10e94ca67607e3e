#ifndef BITBUDGET_SEARCH_EXACT_FILL_H_
#define BITBUDGET_SEARCH_EXACT_FILL_H_

#include <vector>

#include "search/problem.h"

namespace bitbudget {

// cost[c][i]: the predicted loss of component c on ladder choice i.
using CostTable = std::vector<std::vector<double>>;

// Minimises the sum of costs under the byte budget: a Lagrangian sweep over the components' lower
// convex hulls in (bytes, cost), then an exact fill of the bytes that are left (and of the gap that
// the hulls cannot see) by exchanges. Returns one ladder index per component; empty when nothing
// fits. Deterministic; ties go to fewer bytes, then to the earlier component.
std::vector<int> MinimizeSum(const SearchProblem& problem, const CostTable& cost);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_EXACT_FILL_H_
