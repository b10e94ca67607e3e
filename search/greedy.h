#ifndef BITBUDGET_SEARCH_GREEDY_H_
#define BITBUDGET_SEARCH_GREEDY_H_

#include <memory>

#include "absl/status/status.h"
#include "search/gradient_descent.h"
#include "search/search_method.h"

namespace bitbudget {

struct GreedyOptions {
  // Rounds of joint moves, of both kinds together. A round costs up to two evaluations per
  // component that is not pinned, and one per joint move set tried. 0: only swaps.
  int max_rounds = 12;

  // Evaluations in the swap phase after the rounds, including those that measure a component again
  // after it moved. 0: no swaps. -1: the number of components that are not pinned, or twice that
  // when nothing is screened (about what one round costs).
  int max_swap_trials = -1;

  // Where the context predicts moves.
  GradientDescentOptions gradients = {};

  // kInvalidArgument names the field and its value.
  absl::Status Validate() const;
};

// The default method: descent by joint moves from the additive optimum, with every acceptance
// decided by a run of the whole candidate (docs/search.md, "Greedy").
//   1. Start: the assignment that minimises the sum of the components' divergences alone.
//   2. Loss rounds: each component's next smaller and next larger step on its hull of (bytes,
//      divergence alone) is run in the context of the incumbent. The best joint set of such moves
//      under the budget, predicted as the sum of these losses, is run as a whole and committed when
//      its loss is significantly lower. When it is not, a penalty on every move about halves the
//      set (a trust region), down to one move. They end when none is accepted.
//   3. Objective rounds: the same, but committed when the objective calls the whole candidate
//      better. They may give back at most half of the loss that was gained since the start.
//   4. Swaps: single moves and pairs (one component down, one up) by predicted gain, accepted as in
//      the objective rounds.
// With the context's errors, the start is predicted (MeasureAlone), moves are screened on some of
// the probes and again only where the best joint set takes them, and candidates are raced
// (SearchSession::Race). Whatever is accepted was run as a whole on all probes.
// The start is never better, by the objective, than an accepted candidate, and its loss is never
// lower. The search is deterministic; it does not claim an optimum.
// REQUIRES: options.Validate() is OK.
std::unique_ptr<SearchMethod> MakeGreedySearch(const GreedyOptions& options,
                                               const Objective& objective);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_GREEDY_H_
