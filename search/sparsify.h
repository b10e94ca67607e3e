#ifndef BITBUDGET_SEARCH_SPARSIFY_H_
#define BITBUDGET_SEARCH_SPARSIFY_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "search/search_method.h"

namespace bitbudget {

struct SparsifyOptions {
  // What each round adds, in thousandths of all weights of the units that are not pinned: the
  // paper's rounds, 75 % in all. The last one is repeated when that is not enough.
  std::vector<int> round_permille = {200, 150, 100, 100, 50, 50, 50, 50};

  // kInvalidArgument names the field and its value.
  absl::Status Validate() const;
};

// FDT-guided iterative sparsification (Divergent Token Metrics, arXiv 2311.01544): how much every
// unit loses is decided by the first divergent token, which of its weights go by the encoder.
//   A round adds t points. Every unit alone, in the context of the round's incumbent, is run with
//   t / 2, 3 t / 2 and all points more of its weights left out. Piecewise linear between those,
//   made monotone by a running minimum, that predicts the merit (merit.h, kFdt: FDT75 and its
//   tie-breakers) of every step of the ladder. From the incumbent's value down, the steps of
//   highest merit are taken until the round's points are reached (max-min water-filling, up to one
//   step), and all units together are the next incumbent.
// The last round ends as soon as the budget and the problem's sparsity_permille are met. The
// reference is the unmodified model in every round; the paper leaves open whether a later round
// compares with its own start. It trains the model after every round, as this does where the
// context has a retrainer: the next round prunes the trained weights, and so does the end. The
// result's note says whether. An interruption of the last round's training ends with its masks.
//
// The formats of a ladder may differ in sparsity only; kInvalidArgument names two that do not.
// REQUIRES: options.Validate() is OK.
std::unique_ptr<SearchMethod> MakeSparsifySearch(const SparsifyOptions& options);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_SPARSIFY_H_
