#ifndef BITBUDGET_SCORING_LINEARITY_H_
#define BITBUDGET_SCORING_LINEARITY_H_

#include "absl/status/statusor.h"
#include "scoring/scorer.h"

namespace bitbudget {

// Relative squared norms t^2 of the noise that coefficients are fitted to: about those of 4 and of
// 3 bits.
inline constexpr double kLinearityNoise[] = {0.01, 0.04};

// What a format's change dW of one component alone costs by the linearity theorem of HIGGS (arXiv
// 2411.17525), by which the loss grows in proportion to the relative squared error of the weights:
//   KL = alpha t^2,   t^2 = ||dW||^2 / ||W||^2.
// alpha of every component is measured by noise insertion: the divergence of the model whose
// component alone is W + t ||W|| z / ||z||, z normal, at the levels of kLinearityNoise, and the
// line through the origin of least squares. The divergence is the mean over the sequences'
// positions by the context's row weights. Where W is zero its costs are. By component and format of
// ScoreContext::ladders.
//
// Runs the reference once, and the model from a component's stage on once per component and level.
// Memory: two residual streams of all sequences, and one component beside the bank's.
absl::StatusOr<LayerScores> ScoreLinearity(const ScoreContext& context);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_LINEARITY_H_
