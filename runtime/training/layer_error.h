#ifndef BITBUDGET_RUNTIME_TRAINING_LAYER_ERROR_H_
#define BITBUDGET_RUNTIME_TRAINING_LAYER_ERROR_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"
#include "runtime/model/architecture/config.h"
#include "runtime/quantize/encoder.h"
#include "runtime/quantize/matrix.h"
#include "runtime/tensor/format.h"
#include "runtime/tensor/tensor_view.h"
#include "runtime/training/layer_gradient.h"

namespace bitbudget {

// One decoder layer, and inputs that it meets. Everything outlives it.
struct LayerSample {
  const ModelConfig& config;
  int layer;
  const LayerParameters<float>& parameters;
  const LayerInputs& inputs;
};

// The layer with every matrix as its encoding decodes. `encoder` needs no statistics. Errors: those
// of Encoder::Encode.
absl::StatusOr<LayerParameters<float>> EncodedLayer(const LayerParameters<float>& parameters,
                                                    const Encoder& encoder,
                                                    const Format& format,
                                                    int threads);

// ||a - b||^2 / ||b||^2, in double; 0 where a equals b.
double RelativeDistance(const Matrix<float>& a, const Matrix<float>& b);

// The matrix as encoders take it.
TensorView ViewOfMatrix(const Matrix<float>& matrix);

// The length of the longest sequence; 0 without any.
int64_t LongestOf(std::span<const int64_t> lengths);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_LAYER_ERROR_H_
