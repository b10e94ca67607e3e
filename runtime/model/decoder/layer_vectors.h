#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_LAYER_VECTORS_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_LAYER_VECTORS_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "runtime/model/architecture/config.h"

namespace bitbudget {

// Norms and biases of a decoder layer, which no plan touches, widened to float; norms include
// ModelConfig::norm_weight_offset. Empty where the checkpoint has none.
struct LayerVectors {
  std::vector<float> attention_norm, attention_post_norm;  // [hidden], before and after
  std::vector<float> mlp_norm, mlp_post_norm;              // [hidden]
  std::vector<float> q_norm, k_norm;                       // [head_dim], of every head
  std::vector<float> q_bias, k_bias, v_bias, o_bias;
  std::vector<float> gate_bias, up_bias, down_bias;

  bool operator==(const LayerVectors&) const = default;
};

// By layer.
using VectorsByLayer = std::map<int, LayerVectors>;

// A vector of a layer in a checkpoint.
struct LayerVector {
  std::string name;  // the tensor's
  int64_t size;
  float offset;  // what LayerVectors adds to its values
  std::vector<float> LayerVectors::*values;
};

// Those that a layer of this configuration has.
std::vector<LayerVector> ListLayerVectors(const ModelConfig& config, int layer);

// The values of layers' vectors as a checkpoint holds them, by tensor name.
std::map<std::string, std::vector<float>> CheckpointVectors(const ModelConfig& config,
                                                            const VectorsByLayer& vectors);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_LAYER_VECTORS_H_
