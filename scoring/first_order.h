#ifndef BITBUDGET_SCORING_FIRST_ORDER_H_
#define BITBUDGET_SCORING_FIRST_ORDER_H_

#include "absl/status/statusor.h"
#include "scoring/scorer.h"

namespace bitbudget {

// What a format's change dW of one component alone costs by the first-order saliency of pruning
// (SNIP, arXiv 1810.02340, |g w|) with the change in place of the weight:
//   sum over weights of |g dW|,   g = dL/dW,
// L the cross entropy of the unmodified model on the sequences' own next tokens, the mean over
// positions by the context's row weights. It bounds the change of L to first order, in nats per
// token; there is no gradient of the divergence from the unmodified model at that model. By
// component and format of ScoreContext::ladders, from one batch of all sequences.
absl::StatusOr<LayerScores> ScoreFirstOrder(const ScoreContext& context);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_FIRST_ORDER_H_
