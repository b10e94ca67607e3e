#ifndef BITBUDGET_RUNTIME_TRAINING_EQUALIZE_H_
#define BITBUDGET_RUNTIME_TRAINING_EQUALIZE_H_

#include "absl/status/statusor.h"
#include "runtime/quantize/encoder.h"
#include "runtime/tensor/format.h"
#include "runtime/training/layer_error.h"
#include "runtime/training/layer_scales.h"

namespace bitbudget {

struct EqualizeOptions {
  Format format;        // of all seven matrices of the layer
  int token_bits = 0;   // of activations (DecoderLayerOptions)
  int ratio_steps = 8;  // ratios a that are tried: 0, 1/8, ..., 1
  int iterations = 20;  // of the minimiser after that
  int threads = 1;
};

struct LayerEqualization {
  LayerScales scales;  // all empty where none lower the error
  // ||layer' - layer||^2 / ||layer||^2 of the layer's outputs with all matrices in the format,
  // without and with the scales: on the inputs that these were chosen on and on those held aside.
  double error_before = 0, error_after = 0;
  double held_error_before = 0, held_error_after = 0;
};

// Scales for one layer (layer_scales.h) that lower the error of its outputs when its matrices are
// stored in a format. Starts from s = max|X|^a / max|W|^(1-a) over all matrices that share the
// inputs X, with the ratio a of every place searched. For integer formats all scales are then
// learned together by the gradient of the layer's output error, straight through rounding, on
// clipped grids (L-BFGS, Ceres). Candidates are compared by real encodings of `encoder`, which
// needs no statistics. Scales are kept only where the error on `held` falls too. Deterministic for
// any number of threads. Errors: those of Encoder::Encode.
absl::StatusOr<LayerEqualization> EqualizeLayer(const LayerSample& sample,
                                                const LayerInputs& held,
                                                const Encoder& encoder,
                                                const EqualizeOptions& options);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_EQUALIZE_H_
