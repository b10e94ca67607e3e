#include "runtime/model/decoder/layer_vectors.h"

#include "absl/strings/str_cat.h"

namespace bitbudget {

std::vector<LayerVector> ListLayerVectors(const ModelConfig& config, int layer) {
  // Where there are post-norms, the norm ahead of the MLP has another name.
  const bool post = config.post_norms;
  const char* mlp_norm =
      post ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight";
  const int64_t hidden = config.hidden_size;
  const int64_t head = config.head_dim;
  const int64_t ffn = config.intermediate_size;
  const float offset = config.norm_weight_offset;
  using V = LayerVectors;
  struct Entry {
    bool present;
    LayerVector vector;
  };
  const Entry entries[] = {
      {true, {"input_layernorm.weight", hidden, offset, &V::attention_norm}},
      {post, {"post_attention_layernorm.weight", hidden, offset, &V::attention_post_norm}},
      {true, {mlp_norm, hidden, offset, &V::mlp_norm}},
      {post, {"post_feedforward_layernorm.weight", hidden, offset, &V::mlp_post_norm}},
      {config.qk_norm, {"self_attn.q_norm.weight", head, offset, &V::q_norm}},
      {config.qk_norm, {"self_attn.k_norm.weight", head, offset, &V::k_norm}},
      {config.qkv_bias, {"self_attn.q_proj.bias", config.q_size(), 0, &V::q_bias}},
      {config.qkv_bias, {"self_attn.k_proj.bias", config.kv_size(), 0, &V::k_bias}},
      {config.qkv_bias, {"self_attn.v_proj.bias", config.kv_size(), 0, &V::v_bias}},
      {config.o_bias, {"self_attn.o_proj.bias", hidden, 0, &V::o_bias}},
      {config.mlp_bias, {"mlp.gate_proj.bias", ffn, 0, &V::gate_bias}},
      {config.mlp_bias, {"mlp.up_proj.bias", ffn, 0, &V::up_bias}},
      {config.mlp_bias, {"mlp.down_proj.bias", hidden, 0, &V::down_bias}},
  };
  std::vector<LayerVector> vectors;
  for (const Entry& entry : entries) {
    if (!entry.present) continue;
    vectors.push_back(entry.vector);
    vectors.back().name = absl::StrCat("model.layers.", layer, ".", entry.vector.name);
  }
  return vectors;
}

std::map<std::string, std::vector<float>> CheckpointVectors(const ModelConfig& config,
                                                            const VectorsByLayer& vectors) {
  std::map<std::string, std::vector<float>> named;
  for (const auto& [layer, own] : vectors) {
    for (const LayerVector& vector : ListLayerVectors(config, layer)) {
      std::vector<float> values = own.*vector.values;
      for (float& value : values) value -= vector.offset;
      named[vector.name] = std::move(values);
    }
  }
  return named;
}

}  // namespace bitbudget
