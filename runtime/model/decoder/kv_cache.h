#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_KV_CACHE_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_KV_CACHE_H_

#include <cstdint>
#include <vector>

#include "runtime/kernels/attention.h"
#include "runtime/model/architecture/config.h"

namespace bitbudget {

// Keys and values of all layers of one sequence.
struct KvCache {
  // Layers ahead of `first_layer` are left out.
  KvCache(const ModelConfig& config, int64_t max_positions, int first_layer = 0);
  int64_t size() const { return layers.empty() ? 0 : layers.back().size(); }

  std::vector<KeyValuePanels> layers;
};

// Memory of the keys and values of one sequence, in bytes.
int64_t KvCacheBytes(const ModelConfig& config, int64_t positions);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_KV_CACHE_H_
