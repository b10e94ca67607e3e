#include "runtime/model/architecture/config.h"

#include <cmath>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/json.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/config_fields.h"
#include "runtime/model/architecture/families.h"

namespace bitbudget {
namespace {

using nlohmann::json;

absl::Status ReadArchitecture(const ConfigFields& fields, ModelConfig* config) {
  const json* list = fields.Find("architectures");
  const json* type = fields.Find("model_type");
  if (list == nullptr && type == nullptr) return fields.Missing("architectures");
  if (list != nullptr && (!list->is_array() || list->size() != 1 || !list->front().is_string())) {
    return fields.Invalid("architectures", "is not a list with one name");
  }
  std::string supported;
  for (const Family& known : Families()) {
    absl::StrAppend(&supported, supported.empty() ? "" : ", ", known.name);
    if (list != nullptr ? list->front() != known.name : *type != known.model_type) continue;
    if (type != nullptr && *type != known.model_type) {
      return fields.Unsupported("model_type", absl::StrCat("does not belong to ", known.name));
    }
    config->architecture = known.architecture;
    config->architecture_name = known.name;
    return absl::OkStatus();
  }
  return fields.Unsupported(list != nullptr ? "architectures" : "model_type",
                            absl::StrCat("is not supported (", supported, " are)"));
}

// What follows from the family alone, and defaults that are not sizes.
void SetFamilyFacts(const Family& family, ModelConfig* config) {
  config->rms_norm_eps = family.defaults.rms_norm_eps;
  config->activation = family.activation;
  config->norm_weight_offset = family.norm_weight_offset;
  config->post_norms = family.post_norms;
  config->qk_norm = family.qk_norm;
  config->fused_projections = family.fused_projections;
  config->tie_word_embeddings = family.always_tied;
  config->sliding_window = family.defaults.sliding_window;
  config->rope_theta = family.rope_theta;
  config->sliding_rope_theta = family.sliding_rope_theta;
}

// Features that would change results and that the tensors alone may not give away.
absl::Status RefuseUnsupported(const ConfigFields& fields, const Family& family) {
  for (const char* key : {"quantization_config", "compression_config", "quantization"}) {
    if (fields.Find(key) != nullptr) {
      return fields.Unsupported(key, "is not supported: give the unquantized checkpoint");
    }
  }
  for (const char* key :
       {"num_local_experts", "num_experts", "n_routed_experts", "num_experts_per_tok"}) {
    if (const json* value = fields.Find(key); value != nullptr && *value != 0) {
      return fields.Unsupported(key, "is not supported: mixture of experts");
    }
  }
  const bool gelu = family.activation == Activation::kGeluTanh;
  for (const char* key : {"hidden_act", "hidden_activation"}) {
    const json* value = fields.Find(key);
    if (value == nullptr) continue;
    if (gelu ? *value == "gelu_pytorch_tanh" : *value == "silu" || *value == "swish") continue;
    return fields.Unsupported(
        key, absl::StrCat("is not supported (", gelu ? "gelu_pytorch_tanh" : "silu", " is)"));
  }
  if (const json* value = fields.Find("use_bidirectional_attention");
      value != nullptr && *value != false) {
    return fields.Unsupported("use_bidirectional_attention", "is not supported (false is)");
  }
  if (const json* map = fields.Find("auto_map"); map != nullptr) {
    for (const char* key : {"AutoModelForCausalLM", "AutoModel"}) {
      if (!map->contains(key) ||
          (family.published_code != nullptr && map->at(key) == family.published_code)) {
        continue;
      }
      return fields.Unsupported("auto_map", "is not supported: the model is code of its own");
    }
  }
  return absl::OkStatus();
}

absl::Status ReadSizes(const ConfigFields& fields,
                       const ConfigDefaults& defaults,
                       ModelConfig* config) {
  config->intermediate_size = defaults.intermediate_size;
  config->num_hidden_layers = defaults.layers;
  config->num_attention_heads = defaults.heads;
  config->max_position_embeddings = defaults.max_positions;
  if (fields.Find("hidden_size") == nullptr) return fields.Missing("hidden_size");
  if (fields.Find("vocab_size") == nullptr) return fields.Missing("vocab_size");
  const std::pair<const char*, int64_t*> sizes[] = {
      {"hidden_size", &config->hidden_size},
      {"vocab_size", &config->vocab_size},
      {"intermediate_size", &config->intermediate_size},
      {"num_attention_heads", &config->num_attention_heads},
  };
  for (const auto& [key, out] : sizes) {
    BB_RETURN_IF_ERROR(fields.ReadInteger(key, 1, kMaxSize, out));
  }
  BB_RETURN_IF_ERROR(
      fields.ReadInteger("num_hidden_layers", 1, kMaxLayers, &config->num_hidden_layers));
  BB_RETURN_IF_ERROR(fields.ReadInteger(
      "max_position_embeddings", 1, kMaxPositions, &config->max_position_embeddings));

  const int64_t heads = config->num_attention_heads;
  // An explicit null means as many as query heads, whatever the default.
  const bool absent = !fields.Has("num_key_value_heads");
  config->num_key_value_heads = absent && defaults.kv_heads != 0 ? defaults.kv_heads : heads;
  BB_RETURN_IF_ERROR(
      fields.ReadInteger("num_key_value_heads", 1, kMaxSize, &config->num_key_value_heads));
  if (heads % config->num_key_value_heads != 0) {
    return fields.Invalid(
        "num_attention_heads",
        absl::StrCat("is not a multiple of num_key_value_heads ", config->num_key_value_heads));
  }

  config->head_dim = defaults.head_dim;
  if (fields.Find("head_dim") != nullptr) {
    BB_RETURN_IF_ERROR(fields.ReadInteger("head_dim", 1, kMaxSize, &config->head_dim));
  } else if (config->head_dim == 0 && config->hidden_size % heads == 0) {
    config->head_dim = config->hidden_size / heads;
  } else if (config->head_dim == 0) {
    return fields.Invalid(
        "hidden_size",
        absl::StrCat("is not a multiple of num_attention_heads ", heads, ", and no head_dim"));
  }
  if (config->head_dim % 2 != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        fields.Find("head_dim") != nullptr ? fields.Where("head_dim") : fields.Where("hidden_size"),
        "gives heads of ",
        config->head_dim,
        " values: the rotary embedding needs an even number"));
  }
  if (config->q_size() > kMaxSize) {
    return fields.Invalid("num_attention_heads",
                          absl::StrCat("with head_dim ", config->head_dim, " exceeds ", kMaxSize));
  }
  return absl::OkStatus();
}

absl::Status ReadBiases(const ConfigFields& fields, BiasRule rule, ModelConfig* config) {
  config->qkv_bias = rule == BiasRule::kQkv;
  if (rule == BiasRule::kNever || rule == BiasRule::kQkv) return absl::OkStatus();
  BB_RETURN_IF_ERROR(fields.ReadBool("attention_bias", &config->qkv_bias));
  config->o_bias = config->qkv_bias;
  if (rule == BiasRule::kAttentionField) return absl::OkStatus();
  return fields.ReadBool("mlp_bias", &config->mlp_bias);
}

// The tokens that config.json names, or the family's defaults where it has no such field.
absl::Status ReadTokens(const ConfigFields& fields,
                        const ConfigDefaults& defaults,
                        ModelConfig* config) {
  const auto has_default = [&](const char* key, int32_t id) {
    return !fields.Has(key) && id != kNoToken && id < config->vocab_size;
  };
  std::vector<int32_t> bos;
  BB_RETURN_IF_ERROR(fields.ReadTokenIds("bos_token_id", config->vocab_size, &bos));
  if (bos.size() > 1) return fields.Invalid("bos_token_id", "names more than one token");
  if (!bos.empty()) config->bos_token_id = bos.front();
  if (has_default("bos_token_id", defaults.bos)) config->bos_token_id = defaults.bos;
  config->eos_is_default = has_default("eos_token_id", defaults.eos);
  if (config->eos_is_default) config->eos_token_ids = {defaults.eos};
  return fields.ReadTokenIds("eos_token_id", config->vocab_size, &config->eos_token_ids);
}

}  // namespace

absl::StatusOr<ModelConfig> ParseConfig(absl::string_view text, const std::string& path) {
  BB_ASSIGN_OR_RETURN(const json root, ParseJson(text, path));
  if (!root.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", ValueText(root), " is not a JSON object"));
  }
  const ConfigFields fields(root, path, "");
  ModelConfig config;
  BB_RETURN_IF_ERROR(ReadArchitecture(fields, &config));
  const Family& family = FamilyOf(config.architecture);
  SetFamilyFacts(family, &config);
  BB_RETURN_IF_ERROR(RefuseUnsupported(fields, family));
  BB_RETURN_IF_ERROR(ReadSizes(fields, family.defaults, &config));
  if (family.scaled_embedding) {
    config.embedding_scale = std::sqrt(static_cast<float>(config.hidden_size));
  }
  BB_RETURN_IF_ERROR(fields.ReadNumber("rms_norm_eps", 1e-30, 1, &config.rms_norm_eps));
  BB_RETURN_IF_ERROR(fields.ReadBool("tie_word_embeddings", &config.tie_word_embeddings));
  if (family.always_tied && !config.tie_word_embeddings) {
    return fields.Unsupported("tie_word_embeddings",
                              absl::StrCat("is not supported: ", family.spoken, "'s head is tied"));
  }
  BB_RETURN_IF_ERROR(ReadBiases(fields, family.biases, &config));
  BB_RETURN_IF_ERROR(ReadAttention(fields, &config));
  BB_RETURN_IF_ERROR(ReadRope(fields, &config));
  BB_RETURN_IF_ERROR(ReadTokens(fields, family.defaults, &config));
  return config;
}

absl::Status CheckContext(const ModelConfig& config, const std::string& path, int64_t context) {
  const RopeScaling& rope = config.rope_scaling;
  if (rope.type != RopeType::kLongRope || context <= rope.original_max_position) {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(
      absl::StrCat(path,
                   ": original_max_position_embeddings: ",
                   rope.original_max_position,
                   " is shorter than the context of ",
                   context,
                   " tokens, and the long factors of longrope are not supported: use at most ",
                   rope.original_max_position));
}

}  // namespace bitbudget
