#ifndef BITBUDGET_RUNTIME_TRAINING_TRAINED_VECTORS_H_
#define BITBUDGET_RUNTIME_TRAINING_TRAINED_VECTORS_H_

#include <array>
#include <vector>

#include "runtime/model/decoder/model.h"
#include "runtime/training/adamw.h"
#include "runtime/training/layer_gradient.h"

namespace bitbudget {

// Norms and biases of a layer, rounded to the types that the checkpoint stores them in. A value
// that its type cannot hold is replaced by that of `otherwise`.
LayerVectors AsStored(const Model& model,
                      int layer,
                      LayerVectors vectors,
                      const LayerVectors& otherwise);

// The norms and biases of a layer as parameters that training can move. Those of a half (attention,
// MLP) none of whose matrices has an encoding stay: such a half must remain what the checkpoint
// holds.
class TrainedVectors {
 public:
  // Starts at `start`. `encoded` says which matrices of the layer have encodings. The model
  // outlives it.
  TrainedVectors(const Model& model,
                 int layer,
                 const LayerVectors& start,
                 const std::array<bool, kLayerMatrices>& encoded);

  // What is trained, with gradients of the last Backward(). Valid as long as this.
  std::vector<ParameterArray*> parameters();

  // Replaces those that are trained.
  void Apply(LayerParameters<float>* layer) const;
  // Sets the parameters' gradients, given that by the layer's.
  void Backward(const LayerParameters<float>& gradient);

  // What the parameters stand for now, in the type that the checkpoint stores.
  LayerVectors Vectors() const;

 private:
  struct Trained {
    std::vector<float> LayerVectors::*values;
    ParameterArray array;
  };

  const Model& model_;
  const int layer_;
  const LayerVectors start_;
  std::vector<Trained> trained_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_TRAINED_VECTORS_H_
