#ifndef BITBUDGET_RUNTIME_TRAINING_TRAINED_MODEL_H_
#define BITBUDGET_RUNTIME_TRAINING_TRAINED_MODEL_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/training/model_gradient.h"
#include "runtime/training/recovery.h"
#include "runtime/training/trained_matrix.h"
#include "runtime/training/trained_vectors.h"

namespace bitbudget {

// All layers of a model whose matrices are trained, as a source of layers and as the visitor that
// takes their gradients.
class TrainedModel final : public LayerSource<float>, public GradientVisitor<float> {
 public:
  // Trains these parts of the components of layers that have an encoding which can be trained, and
  // are not frozen. Everything outlives it.
  TrainedModel(const Model& model,
               const EncodedModel& start,
               TrainedParts parts,
               std::span<const ComponentId> frozen,
               int threads);

  // What is trained, and the formats of the matrices that it belongs to; of vectors none.
  std::span<ParameterArray* const> arrays() const { return arrays_; }
  const Format& FormatOf(size_t array) const { return formats_[array]; }

  // Layers decode anew from the next call of Layer() on. To be called after every step.
  void ParametersChanged();

  const LayerWeights<float>& Layer(int layer) override;
  LayerBackward<float> Want(int layer) override;
  void Done(int layer) override;

  // What the parameters stand for now.
  EncodedModel Encode() const;

  // The parameters as bytes, and back; false where the bytes are those of others.
  std::string Save() const;
  bool Load(const std::string& bytes);

 private:
  struct TrainedLayer {
    std::array<std::unique_ptr<TrainedMatrix>, kLayerMatrices> matrices;
    std::unique_ptr<TrainedVectors> vectors;
    bool decoded = false;
    LayerParameters<float> parameters;
    std::optional<LayerWeights<float>> weights;
  };

  const Model& model_;
  const EncodedModel& start_;
  const int threads_;
  const bool keeps_layers_;  // decoded; else one at a time
  int last_ = 0;             // the layer that was asked for last
  std::vector<TrainedLayer> layers_;
  std::vector<ParameterArray*> arrays_;
  std::vector<Format> formats_;
  LayerParameters<float> gradient_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_TRAINED_MODEL_H_
