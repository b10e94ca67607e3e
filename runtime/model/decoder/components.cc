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
      [&](ComponentKind kind, int layer, const std::string& name, int64_t rows, int64_t cols) {
        components.push_back({kind, layer, rows, cols, name, name + ".weight", 0, rows});
      };
  add(ComponentKind::kEmbedding, -1, "model.embed_tokens", config.vocab_size, hidden);
  for (int layer = 0; layer < config.num_hidden_layers; ++layer) {
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    add(ComponentKind::kQ, layer, prefix + "self_attn.q_proj", q, hidden);
    add(ComponentKind::kK, layer, prefix + "self_attn.k_proj", kv, hidden);
    add(ComponentKind::kV, layer, prefix + "self_attn.v_proj", kv, hidden);
    add(ComponentKind::kO, layer, prefix + "self_attn.o_proj", hidden, q);
    add(ComponentKind::kGate, layer, prefix + "mlp.gate_proj", ffn, hidden);
    add(ComponentKind::kUp, layer, prefix + "mlp.up_proj", ffn, hidden);
    add(ComponentKind::kDown, layer, prefix + "mlp.down_proj", hidden, ffn);
    if (!config.fused_projections) continue;
    // `count` components from `first` on are stored as one tensor.
    const auto fuse = [&](size_t first, size_t count, const char* name) {
      const std::span<Component> parts = std::span(components).subspan(first, count);
      int64_t rows = 0;
      for (Component& part : parts) {
        part.stored_name = prefix + name;
        part.stored_row = rows;
        rows += part.rows;
      }
      for (Component& part : parts) part.stored_rows = rows;
    };
    fuse(IdOf(layer, ComponentKind::kQ), 3, "self_attn.qkv_proj.weight");
    fuse(IdOf(layer, ComponentKind::kGate), 2, "mlp.gate_up_proj.weight");
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

}  // namespace bitbudget
