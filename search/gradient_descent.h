#ifndef BITBUDGET_SEARCH_GRADIENT_DESCENT_H_
#define BITBUDGET_SEARCH_GRADIENT_DESCENT_H_

#include "absl/status/status.h"
#include "search/objective.h"
#include "search/search_session.h"

namespace bitbudget {

struct GradientDescentOptions {
  // Work of all candidates, in runs of a whole candidate on all probes through all layers.
  double max_evaluations = 12;
  // Gradient passes, one for every incumbent.
  int max_rounds = 6;
};

// Descent by joint moves that gradients predict (docs/search.md, "greedy"), each accepted by a run
// of the whole candidate.
//   1. Start: the least sum of the context's estimates under the budget.
//   2. Rounds: the context's move model gives slope and curvature of every move. The joint move of
//      least slope + stiffness x curvature under the budget is run. What it did to the loss gives
//      the stiffness that would have predicted it, with which the next one is chosen (as the
//      damping of Levenberg and Marquardt), until one lowers the loss significantly and is
//      committed. Rounds end when none does.
//   3. Of all that was run and whose loss is not above the middle between the start's and the last
//      incumbent's, the best by the objective.
// REQUIRES: the context has estimates and moves, and the problem is feasible.
absl::Status DescendByGradients(const GradientDescentOptions& options,
                                const Objective& objective,
                                const SearchContext& context,
                                SearchSession* session);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_GRADIENT_DESCENT_H_
