#ifndef BITBUDGET_SCORING_ZD_H_
#define BITBUDGET_SCORING_ZD_H_

#include <span>

#include "runtime/model/decoder/model.h"
#include "runtime/tensor/tensor_view.h"
#include "scoring/scores.h"

namespace bitbudget {

// Z-score distribution (Layer-Wise Quantization, arXiv 2406.17415): the share of weights w with
// (w - mean) / std > 1. Lower = more important: few weights stand out, so rounding hits them all
// alike. Needs no data. The paper leaves open what it pools; here mean and standard deviation
// (over n, not n - 1) are those of all weights of the matrices together, and the test is one-sided
// (docs/search.md, "Scores"). In [0, 1/2]; 0 when all weights are equal.
//
// Sums are in double and in a fixed order: the same bits for any number of threads. The weights are
// read row by row, twice, and may be memory-mapped.
double ZScoreDistribution(std::span<const TensorView> weights, int threads);

// ZD of every layer (all its matrices pooled) and of every component by itself. scorer: "zd".
LayerScores ScoreZd(const Model& model, int threads);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_ZD_H_
