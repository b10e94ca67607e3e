#ifndef BITBUDGET_RUNTIME_TRAINING_TRAINED_TRANSFORM_H_
#define BITBUDGET_RUNTIME_TRAINING_TRAINED_TRANSFORM_H_

#include <array>
#include <vector>

#include "runtime/model/architecture/config.h"
#include "runtime/training/adamw.h"
#include "runtime/training/layer_gradient.h"
#include "runtime/training/layer_scales.h"
#include "runtime/training/scale_parameters.h"

namespace bitbudget {

// The scales of a layer's equivalent transformation (LET of OmniQuant, arXiv 2308.13137, section
// 3.3) as parameters that training can move: at every place all of whose matrices are trained, as
// what a scale takes from one matrix must reach the codes of the other. Shifts are not learned.
class TrainedTransform {
 public:
  // `trained` says which matrices of the layer are. Starts at these scales; where a place has none,
  // at 1.
  TrainedTransform(const ModelConfig& config,
                   const std::array<bool, kLayerMatrices>& trained,
                   const LayerScales& start);

  // False where no place has scales.
  bool any() const;
  ParameterArray* parameters() { return &logs_; }

  // The scales now, to be folded into the original layer.
  LayerScales Scales() const;
  // Sets the parameters' gradient, given the layer with the scales folded in and the gradient by
  // its parameters.
  void Backward(const LayerParameters<float>& folded, const LayerParameters<float>& gradient);

 private:
  const ModelConfig config_;
  const ScaleParameters scales_;
  std::array<bool, kScalePlaces> places_;
  ParameterArray logs_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_TRAINED_TRANSFORM_H_
