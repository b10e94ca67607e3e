#ifndef BITBUDGET_RUNTIME_TRAINING_STREAMS_H_
#define BITBUDGET_RUNTIME_TRAINING_STREAMS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/quantize/matrix.h"
#include "runtime/training/layer_gradient.h"

namespace bitbudget {

// The residual streams [positions, hidden] of some sequences ahead of a layer, by sequence.
using Streams = std::vector<Matrix<float>>;

inline constexpr size_t kStreamBatch = 4;  // that run side by side without training

// Ahead of the first layer: rows of the embedding [vocabulary, hidden] times `scale`.
Streams Embedded(const Matrix<float>& embedding,
                 float scale,
                 std::span<const std::vector<int32_t>> sequences);

// The streams of some of the sequences as one batch.
LayerInputs Gather(const Streams& streams, std::span<const int64_t> sequences);

// Replaces streams by what a layer makes of them.
void Advance(const DecoderLayer<float>& decoder,
             const LayerWeights<float>& weights,
             Streams* streams);

// ||a - b||^2 / ||b||^2 over all sequences; 0 where b is 0.
double RelativeError(const Streams& a, const Streams& b);

// The mean square of a value.
double MeanSquare(const Streams& streams);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_STREAMS_H_
