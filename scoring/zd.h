#ifndef BITBUDGET_SCORING_ZD_H_
#define BITBUDGET_SCORING_ZD_H_

#include <span>

#include "absl/status/statusor.h"
#include "runtime/tensor/tensor_view.h"
#include "scoring/scorer.h"

namespace bitbudget {

// Z-score distribution (Layer-Wise Quantization, arXiv 2406.17415): the share of weights w with
// (w - mean) / std > 1. A layer with a lower share is more important: few weights stand out, so
// rounding hits all of them alike. The paper leaves open what it pools; here mean and standard
// deviation (over n, not n - 1) are those of all weights of the matrices together, and the test is
// one-sided (docs/search.md, "Scores"). In [0, 1/2]; 0 when all weights are equal.
//
// Sums are in double and in a fixed order: the same bits for any number of threads. The weights,
// which may be memory-mapped, are read row by row, twice.
double ZScoreDistribution(std::span<const TensorView> weights, int threads);

// ZD of every layer (all its matrices pooled) and of every component by itself.
absl::StatusOr<LayerScores> ScoreZd(const ScoreContext& context);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_ZD_H_
