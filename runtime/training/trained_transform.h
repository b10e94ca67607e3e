#ifndef BITBUDGET_RUNTIME_TRAINING_TRAINED_TRANSFORM_H_
#define BITBUDGET_RUNTIME_TRAINING_TRAINED_TRANSFORM_H_

#include <array>

#include "runtime/model/decoder/model.h"
#include "runtime/training/adamw.h"
#include "runtime/training/layer_gradient.h"
#include "runtime/training/layer_scales.h"
#include "runtime/training/scale_parameters.h"
#include "runtime/training/trained_clipping.h"

namespace bitbudget {

// The equivalent transformation of a layer (LET of OmniQuant, arXiv 2308.13137, section 3.3) as
// parameters that training can move, together with the clipping of the matrices: logarithms of the
// scales at every place all of whose matrices are trained, as what a scale takes from one matrix
// must reach the codes of the other. Shifts are not learned.
class TrainedTransform {
 public:
  // Null where a matrix is not trained. The matrices outlive it.
  using Matrices = std::array<TrainedClipping*, kLayerMatrices>;

  // Starts at these scales of the original layer; where a place has none, at 1. Model and original
  // outlive it.
  TrainedTransform(const Model& model,
                   int layer,
                   const LayerParameters<float>& original,
                   const Matrices& matrices,
                   const LayerScales& start);

  // False where no place has scales.
  bool any() const;
  ParameterArray* parameters() { return &logs_; }

  // The scales now.
  LayerScales Scales() const;
  // Folds them into the original layer: gives the matrices the weights that they round from now on,
  // and `layer` its norms and biases.
  void Fold(int threads, LayerParameters<float>* layer);
  // Sets the parameters' gradient, given that by the parameters of the rounded layer, those of
  // matrices that are trained among it. REQUIRES: the last Fold() is of these parameters.
  void Backward(const LayerParameters<float>& gradient, int threads);
  // Moves the scales to where the folded norms can be stored in the checkpoint's types, and folds
  // them. Returns the layer's norms and biases.
  LayerVectors Finish(int threads, LayerParameters<float>* layer);

 private:
  void SetScales(const LayerScales& scales);

  const Model& model_;
  const int layer_;
  const LayerParameters<float>& original_;
  const Matrices matrices_;
  const ScaleParameters scales_;
  std::array<bool, kScalePlaces> places_;
  ParameterArray logs_;
  LayerParameters<float> folded_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_TRAINED_TRANSFORM_H_
