#ifndef BITBUDGET_SCORING_WEIGHTED_ERROR_H_
#define BITBUDGET_SCORING_WEIGHTED_ERROR_H_

#include "absl/status/statusor.h"
#include "scoring/scorer.h"

namespace bitbudget {

// What a format's change dW of one component alone costs as quantizers that go by an importance
// matrix weigh it: the sum over weights of
//   mean(x_j^2) dW_ij^2,
// x the component's inputs at all positions of the sequences, which count alike: the squared change
// of its outputs as if inputs were uncorrelated, the diagonal of tr(dW X^T X dW^T). No gradients,
// and nothing says how much the outputs of one component matter beside those of another. Of an
// embedding that is looked up, whose inputs are one-hot, the mean is the frequency of a token; of a
// tied one both uses add up. By component and format of ScoreContext::ladders.
absl::StatusOr<LayerScores> ScoreWeightedError(const ScoreContext& context);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_WEIGHTED_ERROR_H_
