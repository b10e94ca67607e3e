#ifndef BITBUDGET_SCORING_KFAC_H_
#define BITBUDGET_SCORING_KFAC_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "scoring/scorer.h"

namespace bitbudget {

// Rows of the sketches, and at most so many positions for the head.
inline constexpr int64_t kKfacRows = 256;
inline constexpr int64_t kKfacHeadRows = 512;

// What a format's change dW of one component alone costs, by the Kronecker-factored Fisher
// information (Martens and Grosse, arXiv 1503.05671, section 3; to second order KL is half the
// quadratic form of the Fisher information):
//   KL = 1/2 tr(dW A dW^T B),   A = mean x x^T,   B = mean g g^T,
// means over all positions of the sequences, x the inputs, g the gradient of a sequence's summed
// log-likelihood by the outputs, with one label per position drawn from the model itself. x and g
// of a position are taken as independent, and so are positions.
//
// With X the inputs and G the gradients of all positions as rows, the trace is ||G dW X^T||^2. X
// and G are not taken whole but as sketches of kKfacRows rows, whose Gram matrices have the same
// expectation and the same trace: of a dW whose elements are independent the cost stays exact in
// expectation. The same sketches serve all formats of a component.
//
// Of a head, whose B would be [vocab, vocab], x and g need not be taken as independent: it is 1/2
// mean (g^T dW x)^2, over at most kKfacHeadRows positions that lie evenly. Of an embedding that is
// looked up, A is the frequency of tokens. Of a tied embedding the two uses add up, their
// correlation is left out.
//
// Costs are by component and format of ScoreContext::ladders. One batch of all sequences.
absl::StatusOr<LayerScores> ScoreKfac(const ScoreContext& context);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_KFAC_H_
