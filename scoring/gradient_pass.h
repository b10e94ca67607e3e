#ifndef BITBUDGET_SCORING_GRADIENT_PASS_H_
#define BITBUDGET_SCORING_GRADIENT_PASS_H_

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "runtime/model/decoder/forward.h"
#include "runtime/quantize/matrix.h"
#include "runtime/training/model_gradient.h"
#include "scoring/scorer.h"

namespace bitbudget {

// Takes what a backward pass through the unmodified model shows of every use of a component: its
// inputs and the gradient by its outputs. Rows are the positions of all sequences of a batch, one
// after the other.
class GradientSink {
 public:
  virtual ~GradientSink() = default;

  // A matrix of a layer: x [rows, inputs], d_y [rows, outputs].
  virtual absl::Status Product(ComponentId id,
                               const Matrix<float>& x,
                               const Matrix<float>& d_y) = 0;
  // The head, or the tied embedding where it is multiplied, one sequence at a time and in order:
  // x [positions, hidden], d_y [positions, vocab].
  virtual absl::Status Head(int64_t sequence, const Matrix<float>& x, const Matrix<float>& d_y) = 0;
  // The gradient [rows, hidden] by the embedding's rows of the tokens.
  virtual absl::Status Lookup(std::span<const int32_t> tokens, const Matrix<float>& d_rows) = 0;
};

// Runs all sequences of the context forward and back in one batch and shows `sink` the gradient of
// a loss: first the head's, then the layers' from the last to the first, then the embedding's.
// Memory: GradientPassBytes. The same bits for any number of threads. Errors: kCancelled on
// interruption, and the sink's, which end the pass.
absl::Status RunGradientPass(const ScoreContext& context,
                             LogitLoss<float>* loss,
                             GradientSink* sink);

// The same through other weights: `layers` outlives the call.
absl::Status RunGradientPassOf(const ModelEnds<float>& ends,
                               LayerSource<float>* layers,
                               const ScoreContext& context,
                               LogitLoss<float>* loss,
                               GradientSink* sink);

// RunGradientPass in batches of consecutive sequences, one batch after the other. Of a sequence
// shows the same bits whatever its batch, as long as the loss is a sum over rows: it counts rows
// over all batches, `sink` sees those of one. Memory: that of the largest batch.
absl::Status RunGradientPasses(const ScoreContext& context,
                               std::span<const Batch> batches,
                               LogitLoss<float>* loss,
                               GradientSink* sink);

// An upper bound on what a pass over sequences of `rows` positions in all takes, in bytes: the
// streams between the layers, one layer's values and gradients, the matrices of a layer and of both
// ends, and what a scorer makes of one component (`longest`: positions of a sequence; `formats`: of
// the longest ladder whose pairs are asked for).
int64_t GradientPassBytes(const ModelConfig& config,
                          int64_t rows,
                          int64_t longest,
                          int64_t formats);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_GRADIENT_PASS_H_
