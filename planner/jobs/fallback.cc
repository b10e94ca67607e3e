#include "planner/jobs/fallback.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "search/exact_fill.h"
#include "search/typical_error.h"

namespace bitbudget {

Assignment UnmeasuredAssignment(const SearchProblem& problem) {
  CostTable cost;
  for (UnitId u = 0; u < problem.size(); ++u) {
    const double weights = static_cast<double>(problem.Weights(u));
    cost.emplace_back();
    int sparsest = 0;
    for (const Choice& choice : problem.ladders[u]) {
      sparsest = std::max(sparsest, SparsityPermille(choice.format));
    }
    for (const Choice& choice : problem.ladders[u]) {
      const double extra_bits =
          std::max(0.0, 8 * static_cast<double>(choice.bytes) / weights - choice.format.bits);
      const bool too_dense =
          SparsityPermille(choice.format) < std::min(problem.MinSparsityPermille(), sparsest);
      cost.back().push_back(too_dense ? std::numeric_limits<double>::infinity()
                                      : weights * TypicalError(choice.format) *
                                            std::exp2(-2 * std::min(extra_bits, 1.0)));
    }
  }
  return problem.ToAssignment(MinimizeSum(problem, cost));
}

}  // namespace bitbudget
