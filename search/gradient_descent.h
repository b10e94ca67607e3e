#ifndef BITBUDGET_SEARCH_GRADIENT_DESCENT_H_
#define BITBUDGET_SEARCH_GRADIENT_DESCENT_H_

#include <cstdint>

#include "absl/status/status.h"
#include "search/objective.h"
#include "search/search_session.h"

namespace bitbudget {

struct GradientDescentOptions {
  // Work of all candidates, in runs of a whole candidate on all probes through all layers.
  double max_evaluations = 12;
  // Gradient passes, one for every incumbent.
  int max_rounds = 6;
  // Other starts that are drawn where the estimates do not add up to the start's loss.
  int other_starts = 8;
  uint64_t seed = 0;  // of the drawing
};

// Descent by joint moves that gradients predict (docs/search.md, "greedy"), each accepted by a run
// of the whole candidate.
//   1. Start: the least sum of the context's estimates under the budget. Where its loss is more
//      than a tenth above that sum, other starts are drawn: least sums of estimates that are off at
//      random, by as much as estimates are. They are screened; the best is raced, and is the start
//      when its loss is lower.
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
