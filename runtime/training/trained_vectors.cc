#include "runtime/training/trained_vectors.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "runtime/base/float16.h"
#include "runtime/quantize/integer_grid.h"

namespace bitbudget {
namespace {

// Whether a vector belongs to the attention half of its layer.
bool OfAttention(std::vector<float> LayerVectors::*vector) {
  using V = LayerVectors;
  const std::vector<float> V::*all[] = {&V::attention_norm,
                                        &V::attention_post_norm,
                                        &V::q_norm,
                                        &V::k_norm,
                                        &V::q_bias,
                                        &V::k_bias,
                                        &V::v_bias,
                                        &V::o_bias};
  return std::find(std::begin(all), std::end(all), vector) != std::end(all);
}

float Rounded(float value, const Format& type) {
  if (type == kFormatF16) return RoundToHalf(value);
  if (type == kFormatBF16) return BFloat16ToFloat(FloatToBFloat16(value));
  return value;
}

}  // namespace

LayerVectors AsStored(const Model& model,
                      int layer,
                      LayerVectors vectors,
                      const LayerVectors& otherwise) {
  for (const LayerVector& vector : ListLayerVectors(model.config(), layer)) {
    const Format& type = model.tensors().at(vector.name)->view.format;
    std::vector<float>& values = vectors.*vector.values;
    for (size_t i = 0; i < values.size(); ++i) {
      const float stored = Rounded(values[i] - vector.offset, type);
      values[i] = std::isfinite(stored) ? stored + vector.offset : (otherwise.*vector.values)[i];
    }
  }
  return vectors;
}

TrainedVectors::TrainedVectors(const Model& model,
                               int layer,
                               const LayerVectors& start,
                               const std::array<bool, kLayerMatrices>& encoded)
    : model_(model), layer_(layer), start_(start) {
  const auto any = [&](int first, int end) {
    return std::any_of(encoded.begin() + first, encoded.begin() + end, [](bool e) { return e; });
  };
  const bool attention = any(kQMatrix, kOMatrix + 1);
  const bool mlp = any(kGateMatrix, kLayerMatrices);
  for (const LayerVector& vector : ListLayerVectors(model.config(), layer)) {
    if (!(OfAttention(vector.values) ? attention : mlp)) continue;
    const std::vector<float>& values = start.*vector.values;
    double squares = 0;
    for (const float value : values) squares += static_cast<double>(value) * value;
    const double unit = std::sqrt(squares / static_cast<double>(values.size()));
    Trained& trained = trained_.emplace_back(Trained{vector.values, {}});
    trained.array.kind = ParameterKind::kVectors;
    trained.array.unit = unit > 0 ? static_cast<float>(unit) : 1.0f;
    trained.array.values = values;
  }
}

std::vector<ParameterArray*> TrainedVectors::parameters() {
  std::vector<ParameterArray*> arrays;
  for (Trained& trained : trained_) arrays.push_back(&trained.array);
  return arrays;
}

void TrainedVectors::Apply(LayerParameters<float>* layer) const {
  LayerVectors vectors = VectorsOf(*layer);
  for (const Trained& trained : trained_) vectors.*trained.values = trained.array.values;
  SetVectors(vectors, layer);
}

void TrainedVectors::Backward(const LayerParameters<float>& gradient) {
  LayerVectors slopes = VectorsOf(gradient);
  for (Trained& trained : trained_) {
    trained.array.gradient = std::move(slopes.*trained.values);
    CHECK_EQ(trained.array.gradient.size(), trained.array.values.size());
  }
}

LayerVectors TrainedVectors::Vectors() const {
  LayerVectors vectors = start_;
  for (const Trained& trained : trained_) vectors.*trained.values = trained.array.values;
  return AsStored(model_, layer_, std::move(vectors), start_);
}

}  // namespace bitbudget
