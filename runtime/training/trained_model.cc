#include "runtime/training/trained_model.h"

#include <algorithm>
#include <cstring>

#include "runtime/training/encoded_model.h"

namespace bitbudget {

TrainedModel::TrainedModel(const Model& model,
                           const EncodedModel& start,
                           TrainedParts parts,
                           std::span<const ComponentId> frozen,
                           int threads)
    : model_(model), start_(start), threads_(threads), keeps_layers_(parts.weights) {
  layers_.resize(model.config().num_hidden_layers);
  for (const auto& [component, encoding] : start.encodings) {
    const int layer = model.component(component).layer;
    const bool dense = parts.dense_floats && encoding.format == kFormatF32;
    if (layer < 0 || !(dense || CheckTrainable(encoding.format).ok())) continue;
    if (std::find(frozen.begin(), frozen.end(), component) != frozen.end()) continue;
    std::unique_ptr<TrainedMatrix> matrix =
        MakeTrainedMatrix(ReadMatrix(model, component), encoding, parts);
    const std::vector<ParameterArray*> arrays = matrix->parameters();
    if (arrays.empty()) continue;
    arrays_.insert(arrays_.end(), arrays.begin(), arrays.end());
    formats_.insert(formats_.end(), arrays.size(), encoding.format);
    layers_[layer].matrices[component - LayerComponentId(layer, 0)] = std::move(matrix);
  }
  if (!parts.vectors) return;
  for (int layer = 0; layer < model.config().num_hidden_layers; ++layer) {
    std::array<bool, kLayerMatrices> encoded;
    for (int i = 0; i < kLayerMatrices; ++i) {
      encoded[i] = start.encodings.contains(LayerComponentId(layer, i));
    }
    const auto own = start.vectors.find(layer);
    layers_[layer].vectors = std::make_unique<TrainedVectors>(
        model, layer, own == start.vectors.end() ? model.layer(layer) : own->second, encoded);
    const std::vector<ParameterArray*> arrays = layers_[layer].vectors->parameters();
    arrays_.insert(arrays_.end(), arrays.begin(), arrays.end());
    formats_.resize(arrays_.size());
  }
}

void TrainedModel::ParametersChanged() {
  for (TrainedLayer& layer : layers_) layer.decoded = false;
}

const LayerWeights<float>& TrainedModel::Layer(int layer) {
  if (!keeps_layers_ && layer != last_) {
    TrainedLayer& other = layers_[last_];
    other.weights.reset();
    other.parameters = {};
    other.decoded = false;
  }
  last_ = layer;
  TrainedLayer& own = layers_[layer];
  if (own.decoded) return *own.weights;
  if (!own.weights.has_value()) own.parameters = DecodedLayer(model_, start_, layer);
  for (int i = 0; i < kLayerMatrices; ++i) {
    if (own.matrices[i] != nullptr) {
      own.matrices[i]->Decode(threads_, &own.parameters.matrices[i]);
    }
  }
  if (own.vectors != nullptr) own.vectors->Apply(&own.parameters);
  own.weights.emplace(own.parameters);
  own.decoded = true;
  return *own.weights;
}

LayerBackward<float> TrainedModel::Want(int layer) {
  LayerBackward<float> want{.gradient = &gradient_};
  for (int i = 0; i < kLayerMatrices; ++i) want.frozen[i] = layers_[layer].matrices[i] == nullptr;
  return want;
}

void TrainedModel::Done(int layer) {
  for (int i = 0; i < kLayerMatrices; ++i) {
    TrainedMatrix* const matrix = layers_[layer].matrices[i].get();
    if (matrix != nullptr) matrix->Backward(gradient_.matrices[i], threads_);
  }
  if (layers_[layer].vectors != nullptr) layers_[layer].vectors->Backward(gradient_);
}

EncodedModel TrainedModel::Encode() const {
  EncodedModel encoded = start_;
  for (size_t l = 0; l < layers_.size(); ++l) {
    const int layer = static_cast<int>(l);
    for (int i = 0; i < kLayerMatrices; ++i) {
      const TrainedMatrix* const matrix = layers_[l].matrices[i].get();
      if (matrix == nullptr) continue;
      encoded.encodings[LayerComponentId(layer, i)] = matrix->Encode(threads_);
    }
    if (layers_[l].vectors != nullptr) encoded.vectors[layer] = layers_[l].vectors->Vectors();
  }
  return encoded;
}

std::string TrainedModel::Save() const {
  std::string bytes;
  for (const ParameterArray* array : arrays_) {
    bytes.append(reinterpret_cast<const char*>(array->values.data()),
                 array->values.size() * sizeof(float));
  }
  return bytes;
}

bool TrainedModel::Load(const std::string& bytes) {
  size_t size = 0;
  for (const ParameterArray* array : arrays_) size += array->values.size() * sizeof(float);
  if (bytes.size() != size) return false;
  size_t at = 0;
  for (ParameterArray* array : arrays_) {
    const size_t count = array->values.size() * sizeof(float);
    if (count > 0) std::memcpy(array->values.data(), bytes.data() + at, count);
    at += count;
  }
  ParametersChanged();
  return true;
}

}  // namespace bitbudget
