#include "runtime/model/decoder/kv_cache.h"

#include <span>

#include "runtime/kernels/layout.h"

namespace bitbudget {

KvCache::KvCache(const ModelConfig& config, int64_t max_positions, int first_layer)
    : layers(config.num_hidden_layers) {
  for (KeyValuePanels& layer : std::span(layers).subspan(first_layer)) {
    layer.Reset(config.num_key_value_heads, config.head_dim, max_positions);
  }
}

int64_t KvCacheBytes(const ModelConfig& config, int64_t positions) {
  const int64_t padded = (positions + kPanelWidth - 1) / kPanelWidth * kPanelWidth;
  const int64_t head_dim = (config.head_dim + kPanelWidth - 1) / kPanelWidth * kPanelWidth;
  return config.num_hidden_layers * config.num_key_value_heads * padded *
         (config.head_dim + head_dim) * static_cast<int64_t>(sizeof(float));
}

}  // namespace bitbudget
