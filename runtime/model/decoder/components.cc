#include "runtime/model/decoder/components.h"

#include <span>

#include "absl/strings/str_cat.h"

namespace bitbudget {

const char* ComponentKindName(ComponentKind kind) {
  switch (kind) {
    case ComponentKind::kEmbedding:
      return "embed";
    case ComponentKind::kQ:
      return "q";
    case ComponentKind::kK:
      return "k";
    case ComponentKind::kV:
      return "v";
    case ComponentKind::kO:
      return "o";
    case ComponentKind::kGate:
      return "gate";
    case ComponentKind::kUp:
      return "up";
    case ComponentKind::kDown:
      return "down";
    case ComponentKind::kHead:
      return "head";
  }
  return "?";
}

std::vector<Component> ListComponents(const ModelConfig& config) {
  const int64_t hidden = config.hidden_size;
  const int64_t ffn = config.intermediate_size;
  const int64_t q = config.q_size();
  const int64_t kv = config.kv_size();
  std::vector<Component> components;
  const auto add =
      [&](ComponentKind kind, int b, const std::string& name, int64_t rows, int64_t cols) {
        components.push_back({kind, b, rows, cols, name, name + ".weight", 0, rows});
      };
  add(ComponentKind::kEmbedding, -1, "model.embed_tokens", config.vocab_size, hidden);
  for (int b = 0; b < config.num_hidden_layers; ++b) {
    const std::string layer = absl::StrCat("model.layers.", b, ".");
    add(ComponentKind::kQ, b, layer + "self_attn.q_proj", q, hidden);
    add(ComponentKind::kK, b, layer + "self_attn.k_proj", kv, hidden);
    add(ComponentKind::kV, b, layer + "self_attn.v_proj", kv, hidden);
    add(ComponentKind::kO, b, layer + "self_attn.o_proj", hidden, q);
    add(ComponentKind::kGate, b, layer + "mlp.gate_proj", ffn, hidden);
    add(ComponentKind::kUp, b, layer + "mlp.up_proj", ffn, hidden);
    add(ComponentKind::kDown, b, layer + "mlp.down_proj", hidden, ffn);
    if (!config.fused_projections) continue;
    // `count` components from `first` on are stored as one tensor.
    const auto fuse = [&](size_t first, size_t count, const char* name) {
      const std::span<Component> parts = std::span(components).subspan(first, count);
      int64_t rows = 0;
      for (Component& part : parts) {
        part.stored_name = layer + name;
        part.stored_row = rows;
        rows += part.rows;
      }
      for (Component& part : parts) part.stored_rows = rows;
    };
    fuse(components.size() - 7, 3, "self_attn.qkv_proj.weight");
    fuse(components.size() - 3, 2, "mlp.gate_up_proj.weight");
  }
  if (!config.tie_word_embeddings) {
    add(ComponentKind::kHead, -1, "lm_head", config.vocab_size, hidden);
  }
  return components;
}

absl::Status CheckFits(const Format& format, const Component& component) {
  if (Fits(format, component.cols)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(component.name,
                                                 ": its rows of ",
                                                 component.cols,
                                                 " inputs are not whole blocks of the ",
                                                 format.BlockSize(),
                                                 " inputs of ",
                                                 format.Name()));
}

int NumStages(const ModelConfig& config) {
  return 2 + 2 * static_cast<int>(config.num_hidden_layers);
}

int FirstAffectedStage(const Component& component, const ModelConfig& config) {
  switch (component.kind) {
    case ComponentKind::kEmbedding:
      return 0;
    case ComponentKind::kQ:
    case ComponentKind::kK:
    case ComponentKind::kV:
    case ComponentKind::kO:
      return 1 + 2 * component.layer;
    case ComponentKind::kGate:
    case ComponentKind::kUp:
    case ComponentKind::kDown:
      return 2 + 2 * component.layer;
    case ComponentKind::kHead:
      return NumStages(config) - 1;
  }
  return 0;
}

std::vector<ComponentId> StageComponents(int stage, const ModelConfig& config) {
  constexpr int kAttentionComponents = 4;
  constexpr int kLayerComponents = 7;
  const int layers = static_cast<int>(config.num_hidden_layers);
  if (stage == 0) return {0};
  if (stage == NumStages(config) - 1) {
    return {config.tie_word_embeddings ? 0 : 1 + layers * kLayerComponents};
  }
  const int first = 1 + (stage - 1) / 2 * kLayerComponents;
  const bool attention = stage % 2 == 1;
  std::vector<ComponentId> components;
  for (int i = attention ? 0 : kAttentionComponents;
       i < (attention ? kAttentionComponents : kLayerComponents);
       ++i) {
    components.push_back(first + i);
  }
  return components;
}

}  // namespace bitbudget
