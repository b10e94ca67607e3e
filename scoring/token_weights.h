#ifndef BITBUDGET_SCORING_TOKEN_WEIGHTS_H_
#define BITBUDGET_SCORING_TOKEN_WEIGHTS_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "runtime/quantize/gram.h"
#include "scoring/scorer.h"

namespace bitbudget {

// Tokens that gradients are measured on at a time, and the rest of the last one's sequence: few for
// the sake of memory, enough that reading and packing the layers for each batch costs little.
inline constexpr int64_t kTokenWeightBatch = 1024;

// How much a change of a component's outputs at a token matters to what the model predicts, for
// every token of the context's sequences: ||g||^2, with g the gradient by the component's outputs
// of the sequence's summed log-likelihood of labels drawn from the model itself, over its mean of
// all tokens. GuidedQuant (arXiv 2505.07004, section 3) weighs the output error of layer-wise
// quantization so, by averages of g^2 over groups of outputs; here all outputs of a component are
// one group. There labels are those of the text; those of the model make E[(g^T dW x)^2] / 2 the KL
// of a small change dW. Where a component has no gradient, all tokens count alike.
//
// One batch of tokens after the other, and a number per token and component is kept. The same bits
// for any number of threads. Errors: kCancelled on interruption.
absl::StatusOr<TokenWeights> MeasureTokenWeights(const ScoreContext& context);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_TOKEN_WEIGHTS_H_
