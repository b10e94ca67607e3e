#include "runtime/training/scale_parameters.h"

#include <algorithm>
#include <cmath>

namespace bitbudget {

std::vector<float>& ScalesAt(LayerScales& scales, int place) {
  std::vector<float>* const all[] = {
      &scales.attention_input, &scales.value, &scales.mlp_input, &scales.query_key};
  return *all[place];
}

ScaleParameters::ScaleParameters(const ModelConfig& config, QueryKey query_key) {
  for (int64_t i = 0; i < config.hidden_size; ++i) Add(kAttentionInputScales, size_++);
  for (int64_t i = 0; i < config.kv_size(); ++i) Add(kValueScales, size_++);
  for (int64_t i = 0; i < config.hidden_size; ++i) Add(kMlpInputScales, size_++);
  if (query_key == QueryKey::kUnscaled) return;
  const int64_t half = config.rotary_dim / 2;
  for (int64_t c = 0; c < config.kv_size(); ++c) {
    const int64_t dim = c % config.head_dim;
    const bool second = dim >= half && dim < config.rotary_dim;
    Add(kQueryKeyScales, second ? index_[kQueryKeyScales][c - half] : size_++);
  }
}

LayerScales ScaleParameters::Scales(const double* logs) const {
  LayerScales scales;
  for (int place = 0; place < kScalePlaces; ++place) {
    for (const int i : index_[place]) {
      ScalesAt(scales, place).push_back(static_cast<float>(std::exp(logs[i])));
    }
  }
  return scales;
}

std::vector<double> ScaleParameters::Logs(LayerScales scales) const {
  std::vector<double> logs(size_);
  for (int place = 0; place < kScalePlaces; ++place) {
    const std::vector<float>& own = ScalesAt(scales, place);
    for (size_t c = 0; c < own.size() && c < index_[place].size(); ++c) {
      logs[index_[place][c]] = std::log(static_cast<double>(own[c]));
    }
  }
  return logs;
}

void ScaleParameters::Gather(const ScaleGradient& gradient, double* out) const {
  std::fill_n(out, size_, 0.0);
  const std::vector<double>* const all[] = {
      &gradient.attention_input, &gradient.value, &gradient.mlp_input, &gradient.query_key};
  for (int place = 0; place < kScalePlaces; ++place) {
    for (size_t c = 0; c < index_[place].size(); ++c) out[index_[place][c]] += (*all[place])[c];
  }
}

}  // namespace bitbudget
