#include "runtime/model/config.h"

#include <array>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/json.h"

namespace bitbudget {
namespace {

using nlohmann::json;

// Far above any model that exists, and small enough that products of two sizes and sums of them
// over all layers stay below 2^63.
constexpr int64_t kMaxSize = int64_t{1} << 24;
constexpr int64_t kMaxLayers = int64_t{1} << 12;
constexpr int64_t kMaxPositions = int64_t{1} << 30;
// Wide of every model, and finite in every formula of the rotary embedding.
constexpr double kMaxRopeTheta = 1e15;
constexpr double kMaxRopeFactor = 1e6;
constexpr double kMinFrequencyFactor = 1e-6;

// The fields of one object of config.json. Read* leave `out` alone when the field is absent or
// null, so that it keeps its default.
class Fields {
 public:
  Fields(const json& object, const std::string& path, std::string prefix)
      : object_(object), path_(path), prefix_(std::move(prefix)) {}

  bool Has(const char* key) const { return object_.contains(key); }

  // Null when the field is absent or null.
  const json* Find(const char* key) const {
    const auto it = object_.find(key);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }

  // "<file>: <field>: <value> ": what every message starts with.
  std::string Where(const char* key) const {
    const json* value = Find(key);
    return absl::StrCat(
        path_, ": ", prefix_, key, ": ", value == nullptr ? "null" : ValueText(*value), " ");
  }
  absl::Status Invalid(const char* key, absl::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(Where(key), what));
  }
  absl::Status Unsupported(const char* key, absl::string_view what) const {
    return absl::UnimplementedError(absl::StrCat(Where(key), what));
  }
  absl::Status Missing(const char* key) const {
    return absl::InvalidArgumentError(absl::StrCat(path_, ": ", prefix_, key, ": is missing"));
  }

  absl::Status ReadInteger(const char* key, int64_t low, int64_t high, int64_t* out) const {
    const json* value = Find(key);
    if (value == nullptr) return absl::OkStatus();
    if (!value->is_number_integer()) return Invalid(key, "is not an integer");
    // Values above 2^63 - 1 are stored as unsigned.
    const bool fits =
        value->is_number_unsigned()
            ? value->get<uint64_t>() <= static_cast<uint64_t>(high) && value->get<int64_t>() >= low
            : value->get<int64_t>() >= low && value->get<int64_t>() <= high;
    if (!fits) return Invalid(key, absl::StrCat("is not between ", low, " and ", high));
    *out = value->get<int64_t>();
    return absl::OkStatus();
  }

  absl::Status ReadNumber(const char* key, double low, double high, double* out) const {
    const json* value = Find(key);
    if (value == nullptr) return absl::OkStatus();
    if (!value->is_number()) return Invalid(key, "is not a number");
    const double number = value->get<double>();
    if (!(number >= low && number <= high)) {
      return Invalid(key, absl::StrCat("is not between ", low, " and ", high));
    }
    *out = number;
    return absl::OkStatus();
  }

  absl::Status ReadBool(const char* key, bool* out) const {
    const json* value = Find(key);
    if (value == nullptr) return absl::OkStatus();
    if (!value->is_boolean()) return Invalid(key, "is not true or false");
    *out = value->get<bool>();
    return absl::OkStatus();
  }

 private:
  const json& object_;
  const std::string& path_;
  const std::string prefix_;
};

struct KnownArchitecture {
  Architecture architecture;
  const char* name;        // config.json `architectures`
  const char* model_type;  // config.json `model_type`
};
// Qwen2 and Gemma checkpoints join here (and with their tensors in model.cc).
constexpr std::array kKnownArchitectures = {
    KnownArchitecture{Architecture::kLlama, "LlamaForCausalLM", "llama"},
    KnownArchitecture{Architecture::kMistral, "MistralForCausalLM", "mistral"},
};

absl::Status ReadArchitecture(const Fields& fields, ModelConfig* config) {
  constexpr char kSupported[] = "is not supported (LlamaForCausalLM and MistralForCausalLM are)";
  const json* list = fields.Find("architectures");
  const json* type = fields.Find("model_type");
  if (list == nullptr && type == nullptr) return fields.Missing("architectures");
  if (list != nullptr && (!list->is_array() || list->size() != 1 || !list->front().is_string())) {
    return fields.Invalid("architectures", "is not a list with one name");
  }
  for (const KnownArchitecture& known : kKnownArchitectures) {
    if (list != nullptr ? list->front() != known.name : *type != known.model_type) continue;
    if (type != nullptr && *type != known.model_type) {
      return fields.Unsupported("model_type", absl::StrCat("does not belong to ", known.name));
    }
    config->architecture = known.architecture;
    config->architecture_name = known.name;
    return absl::OkStatus();
  }
  return fields.Unsupported(list != nullptr ? "architectures" : "model_type", kSupported);
}

// What an absent field means: the defaults of Hugging Face's LlamaConfig and MistralConfig.
void SetDefaults(ModelConfig* config) {
  const bool mistral = config->architecture == Architecture::kMistral;
  config->intermediate_size = mistral ? 14336 : 11008;
  config->num_hidden_layers = 32;
  config->num_attention_heads = 32;
  config->max_position_embeddings = mistral ? 131072 : 2048;
  if (mistral) config->sliding_window = 4096;
}

// Features that would change results and that the tensors alone may not give away.
absl::Status RefuseUnsupported(const Fields& fields) {
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
  for (const char* key : {"hidden_act", "hidden_activation"}) {
    if (const json* value = fields.Find(key);
        value != nullptr && *value != "silu" && *value != "swish") {
      return fields.Unsupported(key, "is not supported (silu is)");
    }
  }
  if (const json* value = fields.Find("partial_rotary_factor"); value != nullptr && *value != 1) {
    return fields.Unsupported("partial_rotary_factor", "is not supported (1 is)");
  }
  if (const json* types = fields.Find("layer_types"); types != nullptr) {
    if (!types->is_array()) return fields.Invalid("layer_types", "is not a list");
    for (const json& type : *types) {
      if (type != "full_attention") {
        return fields.Unsupported("layer_types", "is not supported (full_attention is)");
      }
    }
  }
  if (const json* map = fields.Find("auto_map"); map != nullptr) {
    if (map->contains("AutoModelForCausalLM") || map->contains("AutoModel")) {
      return fields.Unsupported("auto_map", "is not supported: the model is code of its own");
    }
  }
  return absl::OkStatus();
}

absl::Status ReadSizes(const Fields& fields, ModelConfig* config) {
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
  // MistralConfig's default is 8; an explicit null means as many as query heads in both.
  const bool mistral_default =
      config->architecture == Architecture::kMistral && !fields.Has("num_key_value_heads");
  config->num_key_value_heads = mistral_default ? 8 : heads;
  BB_RETURN_IF_ERROR(
      fields.ReadInteger("num_key_value_heads", 1, kMaxSize, &config->num_key_value_heads));
  if (heads % config->num_key_value_heads != 0) {
    return fields.Invalid(
        "num_attention_heads",
        absl::StrCat("is not a multiple of num_key_value_heads ", config->num_key_value_heads));
  }

  if (fields.Find("head_dim") != nullptr) {
    BB_RETURN_IF_ERROR(fields.ReadInteger("head_dim", 1, kMaxSize, &config->head_dim));
  } else if (config->hidden_size % heads == 0) {
    config->head_dim = config->hidden_size / heads;
  } else {
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

// `key` is "rope_scaling", or "rope_parameters" as newer configs have it (which holds rope_theta
// too).
absl::Status ReadRopeScaling(const Fields& root,
                             const std::string& path,
                             const char* key,
                             ModelConfig* config) {
  const json* object = root.Find(key);
  if (object == nullptr) return absl::OkStatus();
  if (!object->is_object()) return root.Invalid(key, "is not an object");
  const Fields fields(*object, path, absl::StrCat(key, "."));
  for (const auto& [name, value] : object->items()) {
    bool known = false;
    for (const char* k : {"rope_type",
                          "type",
                          "factor",
                          "low_freq_factor",
                          "high_freq_factor",
                          "original_max_position_embeddings",
                          "rope_theta"}) {
      known = known || name == k;
    }
    if (!known && !value.is_null()) return fields.Unsupported(name.c_str(), "is not supported");
  }

  const json* type = fields.Find("rope_type");
  const json* old_type = fields.Find("type");
  if (type != nullptr && old_type != nullptr && *type != *old_type) {
    return fields.Invalid("type", absl::StrCat("contradicts rope_type ", ValueText(*type)));
  }
  const char* type_key = type != nullptr ? "rope_type" : "type";
  if (type == nullptr) type = old_type;

  RopeScaling& scaling = config->rope_scaling;
  const auto required = [&fields](const char* name, double low, double* out) {
    return fields.Find(name) == nullptr ? fields.Missing(name)
                                        : fields.ReadNumber(name, low, kMaxRopeFactor, out);
  };
  if (type == nullptr) {
    // rope_parameters may hold rope_theta alone; a factor without a type is not guessed at.
    if (fields.Find("factor") != nullptr) return fields.Missing("rope_type");
    scaling.type = RopeType::kDefault;
  } else if (*type == "default") {
    scaling.type = RopeType::kDefault;
  } else if (*type == "linear") {
    scaling.type = RopeType::kLinear;
    BB_RETURN_IF_ERROR(required("factor", 1, &scaling.factor));
  } else if (*type == "llama3") {
    scaling.type = RopeType::kLlama3;
    BB_RETURN_IF_ERROR(required("factor", 1, &scaling.factor));
    BB_RETURN_IF_ERROR(required("low_freq_factor", kMinFrequencyFactor, &scaling.low_freq_factor));
    BB_RETURN_IF_ERROR(
        required("high_freq_factor", kMinFrequencyFactor, &scaling.high_freq_factor));
    if (fields.Find("original_max_position_embeddings") == nullptr) {
      return fields.Missing("original_max_position_embeddings");
    }
    BB_RETURN_IF_ERROR(fields.ReadInteger(
        "original_max_position_embeddings", 1, kMaxPositions, &scaling.original_max_position));
    if (scaling.high_freq_factor <= scaling.low_freq_factor) {
      return fields.Invalid("high_freq_factor",
                            absl::StrCat("is not above low_freq_factor ", scaling.low_freq_factor));
    }
  } else {
    return fields.Unsupported(type_key, "is not supported (default, linear and llama3 are)");
  }

  BB_RETURN_IF_ERROR(fields.ReadNumber("rope_theta", 1, kMaxRopeTheta, &config->rope_theta));
  if (fields.Find("rope_theta") != nullptr && root.Find("rope_theta") != nullptr &&
      *fields.Find("rope_theta") != *root.Find("rope_theta")) {
    return fields.Invalid(
        "rope_theta", absl::StrCat("contradicts rope_theta ", ValueText(*root.Find("rope_theta"))));
  }
  return absl::OkStatus();
}

absl::Status ReadRope(const Fields& fields, const std::string& path, ModelConfig* config) {
  BB_RETURN_IF_ERROR(fields.ReadNumber("rope_theta", 1, kMaxRopeTheta, &config->rope_theta));
  if (fields.Find("rope_scaling") != nullptr && fields.Find("rope_parameters") != nullptr &&
      *fields.Find("rope_scaling") != *fields.Find("rope_parameters")) {
    return fields.Invalid(
        "rope_scaling",
        absl::StrCat("contradicts rope_parameters ", ValueText(*fields.Find("rope_parameters"))));
  }
  BB_RETURN_IF_ERROR(ReadRopeScaling(fields, path, "rope_scaling", config));
  return ReadRopeScaling(fields, path, "rope_parameters", config);
}

// A token id, a list of them, or null. `defaults` holds when the field is absent.
absl::Status ReadTokenIds(const Fields& fields,
                          const char* key,
                          int32_t default_id,
                          int64_t vocab_size,
                          std::vector<int32_t>* ids) {
  if (!fields.Has(key) && default_id < vocab_size) ids->push_back(default_id);
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

absl::StatusOr<ModelConfig> ParseConfig(absl::string_view text, const std::string& path) {
  BB_ASSIGN_OR_RETURN(const json root, ParseJson(text, path));
  if (!root.is_object()) {
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", ValueText(root), " is not a JSON object"));
  }
  const Fields fields(root, path, "");
  ModelConfig config;
  BB_RETURN_IF_ERROR(ReadArchitecture(fields, &config));
  BB_RETURN_IF_ERROR(RefuseUnsupported(fields));
  SetDefaults(&config);
  BB_RETURN_IF_ERROR(ReadSizes(fields, &config));
  BB_RETURN_IF_ERROR(fields.ReadNumber("rms_norm_eps", 1e-30, 1, &config.rms_norm_eps));
  BB_RETURN_IF_ERROR(ReadRope(fields, path, &config));
  BB_RETURN_IF_ERROR(fields.ReadBool("tie_word_embeddings", &config.tie_word_embeddings));
  BB_RETURN_IF_ERROR(fields.ReadBool("attention_bias", &config.attention_bias));
  BB_RETURN_IF_ERROR(fields.ReadBool("mlp_bias", &config.mlp_bias));

  if (fields.Has("sliding_window")) {
    config.sliding_window.reset();
    if (fields.Find("sliding_window") != nullptr) {
      int64_t window = 0;
      BB_RETURN_IF_ERROR(fields.ReadInteger("sliding_window", 1, kMaxPositions, &window));
      config.sliding_window = window;
    }
  }

  std::vector<int32_t> bos;
  BB_RETURN_IF_ERROR(ReadTokenIds(fields, "bos_token_id", 1, config.vocab_size, &bos));
  if (bos.size() > 1) return fields.Invalid("bos_token_id", "names more than one token");
  if (!bos.empty()) config.bos_token_id = bos.front();
  BB_RETURN_IF_ERROR(
      ReadTokenIds(fields, "eos_token_id", 2, config.vocab_size, &config.eos_token_ids));
  return config;
}

absl::Status CheckContext(const ModelConfig& config, const std::string& path, int64_t context) {
  if (!config.sliding_window.has_value() || context <= *config.sliding_window) {
    return absl::OkStatus();
  }
  return absl::UnimplementedError(absl::StrCat(path,
                                               ": sliding_window: ",
                                               *config.sliding_window,
                                               " is shorter than the context of ",
                                               context,
                                               " tokens, which is not supported: use at most ",
                                               *config.sliding_window));
}

}  // namespace bitbudget
