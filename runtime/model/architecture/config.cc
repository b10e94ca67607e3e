#include "runtime/model/architecture/config.h"

#include <array>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/json.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/config_fields.h"

namespace bitbudget {
namespace {

using nlohmann::json;

constexpr int32_t kNoToken = -1;

// What an absent field means: the defaults of Hugging Face's configuration classes. 0: no default
// of its own (head counts and head_dim follow from the other sizes).
struct Defaults {
  int64_t intermediate_size;
  int64_t layers;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t max_positions;
  double rms_norm_eps;
  int32_t bos;
  int32_t eos;
  std::optional<int64_t> sliding_window;
};

struct KnownArchitecture {
  Architecture architecture;
  const char* name;        // config.json `architectures`
  const char* model_type;  // config.json `model_type`
  Defaults defaults;
};
constexpr std::array kKnownArchitectures = {
    KnownArchitecture{Architecture::kLlama,
                      "LlamaForCausalLM",
                      "llama",
                      {11008, 32, 32, 0, 0, 2048, 1e-6, 1, 2, {}}},
    KnownArchitecture{Architecture::kMistral,
                      "MistralForCausalLM",
                      "mistral",
                      {14336, 32, 32, 8, 0, 131072, 1e-6, 1, 2, 4096}},
    KnownArchitecture{Architecture::kQwen2,
                      "Qwen2ForCausalLM",
                      "qwen2",
                      {22016, 32, 32, 32, 0, 32768, 1e-6, kNoToken, kNoToken, 4096}},
    KnownArchitecture{Architecture::kQwen3,
                      "Qwen3ForCausalLM",
                      "qwen3",
                      {22016, 32, 32, 32, 128, 32768, 1e-6, kNoToken, kNoToken, 4096}},
    KnownArchitecture{Architecture::kGemma2,
                      "Gemma2ForCausalLM",
                      "gemma2",
                      {9216, 26, 8, 4, 256, 8192, 1e-6, 2, 1, 4096}},
    KnownArchitecture{Architecture::kGemma3,
                      "Gemma3ForCausalLM",
                      "gemma3_text",
                      {9216, 26, 8, 4, 256, 131072, 1e-6, 2, 1, 4096}},
    KnownArchitecture{Architecture::kPhi3,
                      "Phi3ForCausalLM",
                      "phi3",
                      {8192, 32, 32, 0, 0, 4096, 1e-5, 1, 32000, {}}},
};

const KnownArchitecture& Known(Architecture architecture) {
  return kKnownArchitectures[static_cast<size_t>(architecture)];
}

absl::Status ReadArchitecture(const ConfigFields& fields, ModelConfig* config) {
  const json* list = fields.Find("architectures");
  const json* type = fields.Find("model_type");
  if (list == nullptr && type == nullptr) return fields.Missing("architectures");
  if (list != nullptr && (!list->is_array() || list->size() != 1 || !list->front().is_string())) {
    return fields.Invalid("architectures", "is not a list with one name");
  }
  std::string supported;
  for (const KnownArchitecture& known : kKnownArchitectures) {
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

// What follows from the architecture alone, and defaults that are not sizes.
void SetArchitectureFacts(ModelConfig* config) {
  const Defaults& defaults = Known(config->architecture).defaults;
  config->rms_norm_eps = defaults.rms_norm_eps;
  config->qk_norm =
      config->architecture == Architecture::kQwen3 || config->architecture == Architecture::kGemma3;
  config->fused_projections = config->architecture == Architecture::kPhi3;
  if (IsGemma(*config)) {
    config->activation = Activation::kGeluTanh;
    config->norm_weight_offset = 1;
    config->post_norms = true;
    config->tie_word_embeddings = true;
  }
  if (config->architecture == Architecture::kGemma3) {
    config->rope_theta = 1e6;
    config->sliding_rope_theta = 10000;
  }
}

// Features that would change results and that the tensors alone may not give away.
absl::Status RefuseUnsupported(const ConfigFields& fields, const ModelConfig& config) {
  for (const char* key : {"quantization_config", "compression_config"}) {
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
  const bool gelu = config.activation == Activation::kGeluTanh;
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
      // Phi-3 checkpoints name the code that the architecture was published with.
      if (!map->contains(key) || (config.architecture == Architecture::kPhi3 &&
                                  map->at(key) == "modeling_phi3.Phi3ForCausalLM")) {
        continue;
      }
      return fields.Unsupported("auto_map", "is not supported: the model is code of its own");
    }
  }
  return absl::OkStatus();
}

absl::Status ReadSizes(const ConfigFields& fields, ModelConfig* config) {
  const Defaults& defaults = Known(config->architecture).defaults;
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

absl::Status ReadBiases(const ConfigFields& fields, ModelConfig* config) {
  switch (config->architecture) {
    case Architecture::kQwen2:
      config->qkv_bias = true;
      return absl::OkStatus();
    case Architecture::kPhi3:
      return absl::OkStatus();
    default:
      break;
  }
  BB_RETURN_IF_ERROR(fields.ReadBool("attention_bias", &config->qkv_bias));
  config->o_bias = config->qkv_bias;
  if (IsGemma(*config) || IsQwen(*config)) return absl::OkStatus();
  return fields.ReadBool("mlp_bias", &config->mlp_bias);
}

// A token id, a list of them, or null. `defaults` holds when the field is absent.
absl::Status ReadTokenIds(const ConfigFields& fields,
                          const char* key,
                          int32_t default_id,
                          int64_t vocab_size,
                          std::vector<int32_t>* ids) {
  if (!fields.Has(key) && default_id != kNoToken && default_id < vocab_size) {
    ids->push_back(default_id);
  }
  const json* value = fields.Find(key);
  if (value == nullptr) return absl::OkStatus();
  const json list = value->is_array() ? *value : json::array({*value});
  for (const json& id : list) {
    if (!id.is_number_integer()) return fields.Invalid(key, "is not a token id or a list of them");
    const bool in_range = id.is_number_unsigned()
                              ? id.get<uint64_t>() < static_cast<uint64_t>(vocab_size)
                              : id.get<int64_t>() >= 0 && id.get<int64_t>() < vocab_size;
    if (!in_range) {
      return fields.Invalid(key, absl::StrCat("is outside the vocabulary of ", vocab_size));
    }
    ids->push_back(id.get<int32_t>());
  }
  return absl::OkStatus();
}

}  // namespace

const char* ArchitectureName(Architecture architecture) { return Known(architecture).name; }

absl::StatusOr<ModelConfig> ParseConfig(absl::string_view text, const std::string& path) {
  BB_ASSIGN_OR_RETURN(const json root, ParseJson(text, path));
  if (!root.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", ValueText(root), " is not a JSON object"));
  }
  const ConfigFields fields(root, path, "");
  ModelConfig config;
  BB_RETURN_IF_ERROR(ReadArchitecture(fields, &config));
  SetArchitectureFacts(&config);
  BB_RETURN_IF_ERROR(RefuseUnsupported(fields, config));
  BB_RETURN_IF_ERROR(ReadSizes(fields, &config));
  if (IsGemma(config)) {
    config.embedding_scale = std::sqrt(static_cast<float>(config.hidden_size));
  }
  BB_RETURN_IF_ERROR(fields.ReadNumber("rms_norm_eps", 1e-30, 1, &config.rms_norm_eps));
  BB_RETURN_IF_ERROR(fields.ReadBool("tie_word_embeddings", &config.tie_word_embeddings));
  if (IsGemma(config) && !config.tie_word_embeddings) {
    return fields.Unsupported("tie_word_embeddings", "is not supported: Gemma's head is tied");
  }
  BB_RETURN_IF_ERROR(ReadBiases(fields, &config));
  config.sliding_window = Known(config.architecture).defaults.sliding_window;
  BB_RETURN_IF_ERROR(ReadAttention(fields, &config));
  BB_RETURN_IF_ERROR(ReadRope(fields, &config));

  const Defaults& defaults = Known(config.architecture).defaults;
  std::vector<int32_t> bos;
  BB_RETURN_IF_ERROR(ReadTokenIds(fields, "bos_token_id", defaults.bos, config.vocab_size, &bos));
  if (bos.size() > 1) return fields.Invalid("bos_token_id", "names more than one token");
  if (!bos.empty()) config.bos_token_id = bos.front();
  BB_RETURN_IF_ERROR(
      ReadTokenIds(fields, "eos_token_id", defaults.eos, config.vocab_size, &config.eos_token_ids));
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
