#ifndef BITBUDGET_SEARCH_GREEDY_H_
#define BITBUDGET_SEARCH_GREEDY_H_

#include <memory>

#include "absl/status/status.h"
#include "search/search_method.h"

namespace bitbudget {

struct GreedyOptions {
  // Rounds of joint moves. A round costs up to two evaluations per component that is not pinned,
  // and one per joint move set tried. 0: only swaps.
  int max_rounds = 6;

  // Evaluations in the swap phase after the rounds, including those that measure a component again
  // after it moved. 0: no swaps. -1: twice the number of components that are not pinned, about
  // what one round costs.
  int max_swap_trials = -1;

  double ceiling_share = -1;

  // kInvalidArgument names the field and its value.
  absl::Status Validate() const;
};

// The default method: descent by joint moves from the additive optimum, with every acceptance
// decided by a run of the whole candidate (docs/search.md, "Greedy").
//   1. Start: the assignment that minimises the sum of the components' divergences alone.
//   2. Rounds: each component's next smaller and next larger step on its hull of (bytes, divergence
//      alone) is run in the context of the incumbent. The best joint set of such moves under the
//      budget, predicted as the sum of these losses, is run as a whole and committed when the
//      objective calls it better. When it does not, a penalty on every move about halves the set
//      (a trust region), down to one move. Rounds end when none is accepted.
//   3. Swaps: single moves and pairs (one component down, one up) by predicted gain.
// Every accepted candidate is better than the incumbent and not worse than the start, so the start
// is never better than the result. The search is deterministic; it does not claim an optimum.
// REQUIRES: options.Validate() is OK.
std::unique_ptr<SearchMethod> MakeGreedySearch(const GreedyOptions& options,
                                               const Objective& objective);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_GREEDY_H_
