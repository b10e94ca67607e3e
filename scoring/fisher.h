#ifndef BITBUDGET_SCORING_FISHER_H_
#define BITBUDGET_SCORING_FISHER_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/quantize/matrix.h"
#include "scoring/scorer.h"

namespace bitbudget {

// How many sequences of about 200 tokens the diagonal takes to settle.
inline constexpr int64_t kFisherSequences = 64;

// Takes the diagonal of a component's Fisher information, in the shape of its weights. May end the
// pass with an error.
using DiagonalFn = std::function<absl::Status(ComponentId id, const Matrix<float>& diagonal)>;

// Measures the diagonal of the Fisher information per token,
//   F = sum over sequences of (d log p(labels of the sequence) / dW)^2 / positions of all
//   sequences,
// with one label per position drawn from the model itself, and gives it to `take` component by
// component, each once: half the sum of dW^2 F is the KL in nats per token of a small change dW, as
// far as weights act independently. Gradients are those of whole sequences: what the positions of a
// sequence have in common counts. Of a tied embedding they are those of both of its uses together.
// Errors: kCancelled on interruption, those of `take`.
absl::Status MeasureFisher(const ScoreContext& context, const DiagonalFn& take);

// What a format's change of one component alone costs: 1/2 sum dW^2 F, by component and format of
// ScoreContext::ladders. One batch of all sequences.
absl::StatusOr<LayerScores> ScoreFisher(const ScoreContext& context);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_FISHER_H_
