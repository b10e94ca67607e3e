#ifndef BITBUDGET_SCORING_LIM_H_
#define BITBUDGET_SCORING_LIM_H_

#include "absl/status/statusor.h"
#include "scoring/scorer.h"

namespace bitbudget {

// Layer Input Modification (Layer-Wise Quantization, arXiv 2406.17415): for layer i with residual
// stream x_i ahead of it and x_{i+1} behind it,
//   LIM_i = -mean over tokens of cos(x_i[t], x_{i+1}[t]).
// A layer that changes its input more scores higher and is more important. Every position of every
// sequence counts once. The parts "attention" and "mlp" are the same measure across each half of a
// layer. A token whose stream is zero on either side counts as cosine 0.
absl::StatusOr<LayerScores> ScoreLim(const ScoreContext& context);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_LIM_H_
