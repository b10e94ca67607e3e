#include "runtime/training/trained_transform.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/training/trained_vectors.h"

namespace bitbudget {
namespace {

ScaleParameters::QueryKey QueryKeyOf(const ModelConfig& config) {
  return HasQueryKeyScales(config) ? ScaleParameters::QueryKey::kScaled
                                   : ScaleParameters::QueryKey::kUnscaled;
}

// The scales that turn one norm into another where that is possible.
void Quotients(const RowVector<float>& norm,
               const std::vector<float>& scaled,
               std::vector<float>* scales) {
  for (size_t c = 0; c < scales->size(); ++c) {
    const float quotient = norm[static_cast<int64_t>(c)] / scaled[c];
    if (std::isfinite(quotient) && quotient > 0) (*scales)[c] = quotient;
  }
}

}  // namespace

TrainedTransform::TrainedTransform(const Model& model,
                                   int layer,
                                   const LayerParameters<float>& original,
                                   const Matrices& matrices,
                                   const LayerScales& start)
    : model_(model),
      layer_(layer),
      original_(original),
      matrices_(matrices),
      scales_(model.config(), QueryKeyOf(model.config())) {
  const auto all = [&](std::initializer_list<LayerMatrix> wanted) {
    return std::all_of(
        wanted.begin(), wanted.end(), [&](LayerMatrix i) { return matrices[i] != nullptr; });
  };
  places_[kAttentionInputScales] = all({kQMatrix, kKMatrix, kVMatrix});
  places_[kValueScales] = all({kVMatrix, kOMatrix});
  places_[kMlpInputScales] = all({kGateMatrix, kUpMatrix});
  places_[kQueryKeyScales] = HasQueryKeyScales(model.config()) && all({kQMatrix, kKMatrix});
  LayerScales kept = start;
  for (int place = 0; place < kScalePlaces; ++place) {
    if (!places_[place]) ScalesAt(kept, place).clear();
  }
  logs_.kind = ParameterKind::kTransform;
  SetScales(kept);
}

bool TrainedTransform::any() const {
  return std::any_of(places_.begin(), places_.end(), [](bool place) { return place; });
}

void TrainedTransform::SetScales(const LayerScales& scales) {
  const std::vector<double> logs = scales_.Logs(scales);
  logs_.values.assign(logs.begin(), logs.end());
}

LayerScales TrainedTransform::Scales() const {
  const std::vector<double> logs(logs_.values.begin(), logs_.values.end());
  LayerScales scales = scales_.Scales(logs.data());
  for (int place = 0; place < kScalePlaces; ++place) {
    if (!places_[place]) ScalesAt(scales, place).clear();
  }
  return scales;
}

void TrainedTransform::Fold(int threads, LayerParameters<float>* layer) {
  folded_ = original_;
  FoldScales(model_.config(), Scales(), &folded_);
  for (int i = 0; i < kLayerMatrices; ++i) {
    if (matrices_[i] != nullptr) matrices_[i]->SetOriginal(folded_.matrices[i], threads);
  }
  SetVectors(VectorsOf(folded_), layer);
}

void TrainedTransform::Backward(const LayerParameters<float>& gradient, int threads) {
  LayerParameters<float> by_folded = gradient;
  for (int i = 0; i < kLayerMatrices; ++i) {
    const Matrix<float>& folded = folded_.matrices[i];
    by_folded.matrices[i] = matrices_[i] == nullptr
                                ? Matrix<float>::Zero(folded.rows(), folded.cols())
                                : matrices_[i]->WeightGradient(gradient.matrices[i], threads);
  }
  ScaleGradient slopes = LogScaleGradient(model_.config(), folded_, by_folded);
  std::vector<double>* const all[] = {
      &slopes.attention_input, &slopes.value, &slopes.mlp_input, &slopes.query_key};
  for (int place = 0; place < kScalePlaces; ++place) {
    if (!places_[place]) std::fill(all[place]->begin(), all[place]->end(), 0.0);
  }
  std::vector<double> by_logs(scales_.size());
  scales_.Gather(slopes, by_logs.data());
  logs_.gradient.assign(by_logs.begin(), by_logs.end());
}

LayerVectors TrainedTransform::Finish(int threads, LayerParameters<float>* layer) {
  Fold(threads, layer);
  const LayerVectors original = VectorsOf(original_);
  const LayerVectors stored = AsStored(model_, layer_, VectorsOf(folded_), original);
  LayerScales scales = Scales();
  Quotients(original_.attention_norm, stored.attention_norm, &scales.attention_input);
  Quotients(original_.mlp_norm, stored.mlp_norm, &scales.mlp_input);
  SetScales(scales);
  Fold(threads, layer);
  LayerVectors vectors = AsStored(model_, layer_, VectorsOf(folded_), original);
  SetVectors(vectors, layer);
  return vectors;
}

}  // namespace bitbudget
