#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_SHARED_INPUT_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_SHARED_INPUT_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/kernels/panels.h"
#include "runtime/model/decoder/transformer.h"
#include "runtime/model/decoder/weights.h"

namespace bitbudget {

// The inputs x[m][k] of one or more matrix products of a stage: shows them to the observer, packs
// them once per packing that the products need. Uses the workspace while it lives.
class SharedInput {
 public:
  // `first` is the first component that takes them. With weights.round_activations x is rounded in
  // place.
  SharedInput(ComponentId first,
              float* x,
              int64_t m,
              int64_t k,
              const WeightSet& weights,
              TransformerWorkspace* workspace);

  // y[m][n] = x W^T + bias; no bias when it is empty.
  void Multiply(const ComponentWeights& weights, std::span<const float> bias, float* y);

 private:
  const PackedActivations& Packed(const ActivationPacking& packing);

  float* x_;
  int64_t m_;
  int64_t k_;
  bool round_stored_;
  TransformerWorkspace* workspace_;
  size_t ready_ = 0;  // the first entries of workspace_->packed hold x
};

// Whether a stage whose last product is this one leaves the residual stream as it is.
bool AddsNothing(const ComponentWeights& last, std::span<const float> bias);

// RMS norm: out[rows][width] from x, whose rows are `ldx` floats apart. `weight` has `width`
// values.
void NormRows(const float* x,
              int64_t ldx,
              std::span<const float> weight,
              double eps,
              int64_t rows,
              float* out);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_SHARED_INPUT_H_
