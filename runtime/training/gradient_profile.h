#ifndef BITBUDGET_RUNTIME_TRAINING_GRADIENT_PROFILE_H_
#define BITBUDGET_RUNTIME_TRAINING_GRADIENT_PROFILE_H_

#include <array>
#include <cstdint>
#include <vector>

#include "runtime/training/layer_gradient.h"

namespace bitbudget {

// Signals in both directions through a matrix of a quantized model (Oh! We Freeze, arXiv
// 2403.18159; its exact forward statistic is not published).
struct MatrixSignal {
  // ||dL/dW||_F^2, W being the values that the format decodes to, frozen or not.
  double gradient_norm = 0;
  // 10 log10(||Y||^2 / ||Y' - Y||^2) of the matrix's outputs Y' and what the original matrix makes
  // of the same inputs; infinite where these are equal.
  double sqnr_db = 0;
};

// The signals through all matrices of all layers at one moment of a training.
struct GradientProfile {
  int64_t step = 0;  // taken before
  double loss = 0;   // L, in nats per token
  std::vector<std::array<MatrixSignal, kLayerMatrices>> layers;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_GRADIENT_PROFILE_H_
