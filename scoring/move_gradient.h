#ifndef BITBUDGET_SCORING_MOVE_GRADIENT_H_
#define BITBUDGET_SCORING_MOVE_GRADIENT_H_

#include "absl/status/statusor.h"
#include "runtime/eval/assignment.h"
#include "runtime/training/encoded_model.h"
#include "scoring/format_costs.h"
#include "scoring/scorer.h"

namespace bitbudget {

// What moving one component of an incumbent to another format does to the loss, to first order:
// <dL/dW, Q_f(W) - Q_incumbent(W)> for every format f of the context's ladders, where L is the mean
// KL(reference || incumbent) in nats per token over the context's rows by their weights. Unlike the
// cost of a format alone, it holds in the context of the errors that all other components have:
// with H the Hessian of L it is e^T H (e' - e) of the incumbent's error e (up to third order), and
// one backward pass gives it for everything. Row r of a sequence predicts token r + 1; the first
// `uncounted` rows and the last row of each do not count. `original`: of the context's sequences.
// Errors: those of encoding, and kCancelled on interruption.
absl::StatusOr<FormatCosts> MoveGradients(const ScoreContext& context,
                                          const Assignment& incumbent,
                                          const OriginalOutputs& original);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_MOVE_GRADIENT_H_
