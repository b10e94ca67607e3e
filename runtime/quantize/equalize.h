#ifndef BITBUDGET_RUNTIME_QUANTIZE_EQUALIZE_H_
#define BITBUDGET_RUNTIME_QUANTIZE_EQUALIZE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/architecture/config.h"
#include "runtime/quantize/encoder.h"
#include "runtime/quantize/layer_scales.h"
#include "runtime/quantize/matrix.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// Whole sequences that follow each other in the rows of x [rows, hidden].
struct LayerInputs {
  std::vector<int64_t> lengths;
  Matrix<float> x;
};

struct EqualizeOptions {
  Format format;        // what all seven matrices of the layer are to be stored in
  int token_bits = 0;   // of activations (DecoderLayer)
  int ratio_steps = 8;  // ratios a that are tried: 0, 1/8, ..., 1
  int iterations = 20;  // of the line search minimiser, after that
  int threads = 1;
};

struct LayerEqualization {
  LayerScales scales;  // all empty: nothing was kept
  // ||layer' - layer||^2 / ||layer||^2 of the layer's outputs with all matrices in the format,
  // before and with the scales: on the inputs that they were chosen on and on those held aside.
  double error_before = 0, error_after = 0;
  double held_error_before = 0, held_error_after = 0;
};

// Scales for one layer (layer_scales.h) with which its outputs suffer less when its matrices are
// stored in a format. Starts from s = max|X|^a / max|W|^(1-a) over all matrices that share the
// inputs X, the ratio a of every place searched; then, for integer formats, all scales are learned
// together by the gradient of the layer's output error, straight through rounding, with clipped
// grids (L-BFGS, Ceres). Errors of candidates are those of real encodings by `encoder`, which needs
// no statistics. Scales are kept only where the error on `held` falls too. Deterministic for any
// number of threads. Errors: those of Encoder::Encode.
absl::StatusOr<LayerEqualization> EqualizeLayer(const ModelConfig& config,
                                                int layer,
                                                const LayerParameters<float>& parameters,
                                                const LayerInputs& inputs,
                                                const LayerInputs& held,
                                                const Encoder& encoder,
                                                const EqualizeOptions& options);

// The layer with every matrix as its encoding decodes.
absl::StatusOr<LayerParameters<float>> EncodedLayer(const LayerParameters<float>& parameters,
                                                    const Encoder& encoder,
                                                    const Format& format,
                                                    int threads);

// ||a - b||^2 / ||b||^2
double RelativeDistance(const Matrix<float>& a, const Matrix<float>& b);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_EQUALIZE_H_
