#include "runtime/model/components.h"

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
  std::vector<Component> components;
  components.push_back(
      {ComponentKind::kEmbedding, -1, config.vocab_size, hidden, "model.embed_tokens"});
  for (int b = 0; b < config.num_hidden_layers; ++b) {
    const std::string block = absl::StrCat("model.layers.", b, ".");
    const auto add = [&](ComponentKind kind, int64_t rows, int64_t cols, const char* name) {
      components.push_back({kind, b, rows, cols, block + name});
    };
    add(ComponentKind::kQ, config.q_size(), hidden, "self_attn.q_proj");
    add(ComponentKind::kK, config.kv_size(), hidden, "self_attn.k_proj");
    add(ComponentKind::kV, config.kv_size(), hidden, "self_attn.v_proj");
    add(ComponentKind::kO, hidden, config.q_size(), "self_attn.o_proj");
    add(ComponentKind::kGate, ffn, hidden, "mlp.gate_proj");
    add(ComponentKind::kUp, ffn, hidden, "mlp.up_proj");
    add(ComponentKind::kDown, hidden, ffn, "mlp.down_proj");
  }
  if (!config.tie_word_embeddings) {
    components.push_back({ComponentKind::kHead, -1, config.vocab_size, hidden, "lm_head"});
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
      return 1 + 2 * component.block;
    case ComponentKind::kGate:
    case ComponentKind::kUp:
    case ComponentKind::kDown:
      return 2 + 2 * component.block;
    case ComponentKind::kHead:
      return NumStages(config) - 1;
  }
  return 0;
}

std::vector<ComponentId> StageComponents(int stage, const ModelConfig& config) {
  constexpr int kAttentionComponents = 4;
  constexpr int kBlockComponents = 7;
  const int layers = static_cast<int>(config.num_hidden_layers);
  if (stage == 0) return {0};
  if (stage == NumStages(config) - 1) {
    return {config.tie_word_embeddings ? 0 : 1 + layers * kBlockComponents};
  }
  const int first = 1 + (stage - 1) / 2 * kBlockComponents;
  const bool attention = stage % 2 == 1;
  std::vector<ComponentId> components;
  for (int i = attention ? 0 : kAttentionComponents;
       i < (attention ? kAttentionComponents : kBlockComponents);
       ++i) {
    components.push_back(first + i);
  }
  return components;
}

}  // namespace bitbudget
