#include "runtime/training/trained_transform.h"

#include <algorithm>

namespace bitbudget {

TrainedTransform::TrainedTransform(const ModelConfig& config,
                                   const std::array<bool, kLayerMatrices>& trained,
                                   const LayerScales& start)
    : config_(config),
      scales_(config,
              HasQueryKeyScales(config) ? ScaleParameters::QueryKey::kScaled
                                        : ScaleParameters::QueryKey::kUnscaled) {
  places_[kAttentionInputScales] = trained[kQMatrix] && trained[kKMatrix] && trained[kVMatrix];
  places_[kValueScales] = trained[kVMatrix] && trained[kOMatrix];
  places_[kMlpInputScales] = trained[kGateMatrix] && trained[kUpMatrix];
  places_[kQueryKeyScales] = HasQueryKeyScales(config) && trained[kQMatrix] && trained[kKMatrix];
  LayerScales kept = start;
  for (int place = 0; place < kScalePlaces; ++place) {
    if (!places_[place]) ScalesAt(kept, place).clear();
  }
  const std::vector<double> logs = scales_.Logs(kept);
  logs_.kind = ParameterKind::kTransform;
  logs_.values.assign(logs.begin(), logs.end());
}

bool TrainedTransform::any() const {
  return std::any_of(places_.begin(), places_.end(), [](bool place) { return place; });
}

LayerScales TrainedTransform::Scales() const {
  const std::vector<double> logs(logs_.values.begin(), logs_.values.end());
  LayerScales scales = scales_.Scales(logs.data());
  for (int place = 0; place < kScalePlaces; ++place) {
    if (!places_[place]) ScalesAt(scales, place).clear();
  }
  return scales;
}

void TrainedTransform::Backward(const LayerParameters<float>& folded,
                                const LayerParameters<float>& gradient) {
  ScaleGradient slopes = LogScaleGradient(config_, folded, gradient);
  std::vector<double>* const all[] = {
      &slopes.attention_input, &slopes.value, &slopes.mlp_input, &slopes.query_key};
  for (int place = 0; place < kScalePlaces; ++place) {
    if (!places_[place]) std::fill(all[place]->begin(), all[place]->end(), 0.0);
  }
  std::vector<double> by_logs(scales_.size());
  scales_.Gather(slopes, by_logs.data());
  logs_.gradient.assign(by_logs.begin(), by_logs.end());
}

}  // namespace bitbudget
