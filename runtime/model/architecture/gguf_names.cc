#include "runtime/model/architecture/gguf_names.h"

#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "runtime/model/architecture/families.h"

namespace bitbudget {
namespace {

struct NamePair {
  const char* gguf;
  const char* hugging_face;
};

constexpr NamePair kOutside[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};

// Within a layer, behind "blk.N." and "model.layers.N.".
constexpr NamePair kLayer[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_qkv", "self_attn.qkv_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_down", "mlp.down_proj"},
};

// Names that mean different things: with post norms an MLP's input and output are both normed, and
// a fused gate and up projection goes by the name of up.
constexpr NamePair kPlainNorms[] = {{"ffn_norm", "post_attention_layernorm"}};
constexpr NamePair kPostNorms[] = {{"post_attention_norm", "post_attention_layernorm"},
                                   {"ffn_norm", "pre_feedforward_layernorm"},
                                   {"post_ffw_norm", "post_feedforward_layernorm"}};
constexpr NamePair kPlainUp[] = {{"ffn_up", "mlp.up_proj"}};
constexpr NamePair kFusedUp[] = {{"ffn_up", "mlp.gate_up_proj"}};

// Calls `visit(pair)` for the layer's names until one returns true.
template <typename Visit>
bool AnyLayerName(Architecture architecture, Visit visit) {
  const auto any = [&visit](auto& pairs) {
    for (const NamePair& pair : pairs) {
      if (visit(pair)) return true;
    }
    return false;
  };
  const Family& family = FamilyOf(architecture);
  return any(kLayer) || (family.post_norms ? any(kPostNorms) : any(kPlainNorms)) ||
         (family.fused_projections ? any(kFusedUp) : any(kPlainUp));
}

// Splits "<prefix>12.rest" into the number and the rest.
bool ConsumeLayer(absl::string_view prefix, absl::string_view* name, int64_t* layer) {
  if (!absl::ConsumePrefix(name, prefix)) return false;
  const size_t dot = name->find('.');
  if (dot == absl::string_view::npos || !absl::SimpleAtoi(name->substr(0, dot), layer) ||
      *layer < 0 || absl::StrCat(*layer) != name->substr(0, dot)) {
    return false;
  }
  name->remove_prefix(dot + 1);
  return true;
}

std::optional<std::string> Translate(absl::string_view name,
                                     Architecture architecture,
                                     const char* NamePair::*from,
                                     const char* NamePair::*to,
                                     absl::string_view from_layer,
                                     absl::string_view to_layer) {
  absl::string_view suffix;
  for (const absl::string_view known : {".weight", ".bias"}) {
    if (absl::ConsumeSuffix(&name, known)) {
      suffix = known;
      break;
    }
  }
  if (suffix.empty()) return std::nullopt;
  for (const NamePair& pair : kOutside) {
    if (name == pair.*from) return absl::StrCat(pair.*to, suffix);
  }
  int64_t layer = 0;
  std::optional<std::string> translated;
  if (ConsumeLayer(from_layer, &name, &layer)) {
    AnyLayerName(architecture, [&](const NamePair& pair) {
      if (name != pair.*from) return false;
      translated = absl::StrCat(to_layer, layer, ".", pair.*to, suffix);
      return true;
    });
  }
  return translated;
}

}  // namespace

std::optional<std::string> HuggingFaceTensorName(absl::string_view gguf,
                                                 Architecture architecture) {
  return Translate(
      gguf, architecture, &NamePair::gguf, &NamePair::hugging_face, "blk.", "model.layers.");
}

std::optional<std::string> GgufTensorName(absl::string_view hugging_face,
                                          Architecture architecture) {
  return Translate(hugging_face,
                   architecture,
                   &NamePair::hugging_face,
                   &NamePair::gguf,
                   "model.layers.",
                   "blk.");
}

}  // namespace bitbudget
