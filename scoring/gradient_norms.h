#ifndef BITBUDGET_SCORING_GRADIENT_NORMS_H_
#define BITBUDGET_SCORING_GRADIENT_NORMS_H_

#include <vector>

#include "absl/status/statusor.h"
#include "scoring/scorer.h"

namespace bitbudget {

// ||dL/dW||_F^2 of every component, where L is the cross entropy of the unmodified model on the
// context's sequences, the mean over all positions that have a next token: the backward half of the
// signal propagation analysis of Oh! We Freeze (arXiv 2403.18159), whose exact statistic is not
// published. Of a tied embedding it is the gradient of both uses together. Needs what
// ScorerNeeds::kTokens has. Errors: kCancelled on interruption.
absl::StatusOr<std::vector<double>> GradientNorms(const ScoreContext& context);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_GRADIENT_NORMS_H_
