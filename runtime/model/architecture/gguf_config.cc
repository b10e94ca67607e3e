#include "runtime/model/architecture/gguf_config.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/json.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/families.h"
#include "runtime/model/architecture/gguf_metadata.h"
#include "runtime/model/architecture/limits.h"
#include "runtime/model/tokenizer/gguf_ends.h"

namespace bitbudget {
namespace {

// What llama.cpp assumes where a file says nothing.
constexpr double kDefaultRopeTheta = 10000;

bool HasTensor(const GgufFile& file, absl::string_view name) {
  return std::any_of(file.tensors.begin(), file.tensors.end(), [&](const GgufTensor& tensor) {
    return tensor.name == name;
  });
}

// "llama, qwen2 and phi3".
std::string SupportedNames() {
  std::vector<absl::string_view> names;
  for (const Family& family : Families()) {
    if (std::find(names.begin(), names.end(), family.gguf.name) == names.end()) {
      names.push_back(family.gguf.name);
    }
  }
  const absl::string_view last = names.back();
  names.pop_back();
  return absl::StrCat(absl::StrJoin(names, ", "), " and ", last);
}

absl::Status ReadArchitecture(const GgufFile& file, ModelConfig* config) {
  const GgufValue* value = file.Find("general.architecture");
  if (value == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path, ": general.architecture: is missing"));
  }
  const std::optional<absl::string_view> name = value->Text();
  if (!name.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path, ": general.architecture: ", value->Describe(), " is not a string"));
  }
  if (const Family* family = FindGgufFamily(*name); family != nullptr) {
    config->architecture = family->architecture;
    config->architecture_name = family->gguf.name;
    return absl::OkStatus();
  }
  return absl::UnimplementedError(absl::StrCat(file.path,
                                               ": general.architecture: ",
                                               Quoted(*name),
                                               " is not supported (",
                                               SupportedNames(),
                                               " are)"));
}

// A key of the architecture that is not read here might change results.
absl::Status RefuseUnknownKeys(const GgufFile& file, const GgufMetadata& metadata) {
  constexpr std::array kKnown = {
      "block_count",
      "context_length",
      "embedding_length",
      "feed_forward_length",
      "vocab_size",
      "attention.head_count",
      "attention.head_count_kv",
      "attention.key_length",
      "attention.value_length",
      "attention.layer_norm_rms_epsilon",
      "attention.sliding_window",
      "attention.sliding_window_pattern",
      "attn_logit_softcapping",
      "final_logit_softcapping",
      "rope.dimension_count",
      "rope.freq_base",
      "rope.freq_base_swa",
      "rope.scaling.type",
      "rope.scaling.factor",
      "rope.scaling.attn_factor",
      "rope.scaling.original_context_length",
      "rope.scaling.finetuned",
      "rope.scale_linear",
      "expert_count",
      "expert_used_count",
  };
  const std::string prefix = metadata.Key("");
  for (const GgufEntry& entry : file.entries) {
    if (!absl::StartsWith(entry.key, prefix)) continue;
    const std::string name = entry.key.substr(prefix.size());
    if (std::find(kKnown.begin(), kKnown.end(), name) == kKnown.end()) {
      return metadata.Unsupported(name, "is a key that this build does not know");
    }
  }
  for (const char* key : {"expert_count", "expert_used_count"}) {
    if (const GgufValue* value = metadata.Find(key); value != nullptr && value->Integer() != 0) {
      return metadata.Unsupported(key, "is not supported: mixture of experts");
    }
  }
  return absl::OkStatus();
}

absl::Status ReadSizes(const GgufFile& file, const GgufMetadata& metadata, ModelConfig* config) {
  BB_RETURN_IF_ERROR(
      metadata.RequireInteger("block_count", kMaxLayers, &config->num_hidden_layers));
  BB_RETURN_IF_ERROR(
      metadata.RequireInteger("context_length", kMaxPositions, &config->max_position_embeddings));
  BB_RETURN_IF_ERROR(metadata.RequireInteger("embedding_length", kMaxSize, &config->hidden_size));
  BB_RETURN_IF_ERROR(
      metadata.RequireInteger("feed_forward_length", kMaxSize, &config->intermediate_size));
  BB_RETURN_IF_ERROR(
      metadata.RequireInteger("attention.head_count", kMaxSize, &config->num_attention_heads));
  config->num_key_value_heads = config->num_attention_heads;
  BB_RETURN_IF_ERROR(
      metadata.ReadInteger("attention.head_count_kv", 1, kMaxSize, &config->num_key_value_heads));
  if (config->num_attention_heads % config->num_key_value_heads != 0) {
    return metadata.Invalid("attention.head_count_kv", "does not divide attention.head_count");
  }

  config->head_dim = config->hidden_size / config->num_attention_heads;
  BB_RETURN_IF_ERROR(metadata.ReadInteger("attention.key_length", 1, kMaxSize, &config->head_dim));
  int64_t value_length = config->head_dim;
  BB_RETURN_IF_ERROR(metadata.ReadInteger("attention.value_length", 1, kMaxSize, &value_length));
  if (value_length != config->head_dim) {
    return metadata.Unsupported("attention.value_length", "differs from attention.key_length");
  }
  if (config->head_dim < 2 || config->head_dim % 2 != 0 || config->q_size() > kMaxSize) {
    return metadata.Invalid(
        "attention.head_count",
        absl::StrCat("gives heads of ", config->head_dim, " values, which is not possible"));
  }

  // The embedding says how many tokens there are; the key is optional.
  for (const GgufTensor& tensor : file.tensors) {
    if (tensor.name == "token_embd.weight") config->vocab_size = tensor.shape.front();
  }
  if (config->vocab_size == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path,
                     ": has no tensor \"token_embd.weight\"",
                     file.tensors.empty() ? ": it holds a vocabulary only" : ""));
  }
  if (config->vocab_size > kMaxSize) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.path, ": tensor \"token_embd.weight\": ", config->vocab_size, " rows are too many"));
  }
  return metadata.ReadInteger(
      "vocab_size", config->vocab_size, config->vocab_size, &config->vocab_size);
}

// The values of an F32 vector that belongs to the rotary embedding; empty: there is none.
absl::StatusOr<std::vector<double>> ReadDivisors(const GgufFile& file,
                                                 absl::string_view name,
                                                 int64_t size) {
  for (const GgufTensor& tensor : file.tensors) {
    if (tensor.name != name) continue;
    const std::string where = absl::StrCat(file.path, ": tensor ", Quoted(tensor.name), ": ");
    if (tensor.format != kFormatF32 || tensor.shape != std::vector<int64_t>{size}) {
      return absl::InvalidArgumentError(absl::StrCat(where, "is not f32[", size, "]"));
    }
    std::vector<float> values(size);
    std::memcpy(values.data(), tensor.data.data(), tensor.data.size());
    for (const float value : values) {
      if (!(value > 0) || !std::isfinite(value)) {
        return absl::InvalidArgumentError(absl::StrCat(where, value, " is not a divisor"));
      }
    }
    return std::vector<double>(values.begin(), values.end());
  }
  return std::vector<double>();
}

absl::Status ReadRope(const GgufFile& file, const GgufMetadata& metadata, ModelConfig* config) {
  config->rope_theta = kDefaultRopeTheta;
  BB_RETURN_IF_ERROR(metadata.ReadNumber("rope.freq_base", 1, 1e15, &config->rope_theta));
  config->rotary_dim = config->head_dim;
  BB_RETURN_IF_ERROR(
      metadata.ReadInteger("rope.dimension_count", 2, config->head_dim, &config->rotary_dim));
  if (config->rotary_dim % 2 != 0) return metadata.Invalid("rope.dimension_count", "is odd");

  RopeScaling& scaling = config->rope_scaling;
  const int64_t half = config->rotary_dim / 2;
  std::string type = "none";
  if (const GgufValue* value = metadata.Find("rope.scaling.type"); value != nullptr) {
    if (!value->Text().has_value()) return metadata.Invalid("rope.scaling.type", "is not a string");
    type = std::string(*value->Text());
  }
  for (const char* key : {"rope.scaling.factor", "rope.scale_linear"}) {
    BB_RETURN_IF_ERROR(metadata.ReadNumber(key, 1, 1e6, &scaling.factor));
  }
  if (type == "linear" || (type == "none" && metadata.Find("rope.scale_linear") != nullptr)) {
    scaling.type = RopeType::kLinear;
  } else if (type != "none" && type != "longrope") {
    return metadata.Unsupported("rope.scaling.type",
                                "is not supported (none, linear and longrope are)");
  }

  BB_ASSIGN_OR_RETURN(const std::vector<double> divisors,
                      ReadDivisors(file, "rope_freqs.weight", half));
  BB_ASSIGN_OR_RETURN(const std::vector<double> short_factors,
                      ReadDivisors(file, "rope_factors_short.weight", half));
  if (!divisors.empty()) {
    if (scaling.type != RopeType::kDefault || !short_factors.empty()) {
      return absl::UnimplementedError(absl::StrCat(
          file.path, ": tensor \"rope_freqs.weight\": beside another scaling is not supported"));
    }
    // Divisors for every context.
    scaling.type = RopeType::kLongRope;
    scaling.factors = divisors;
    scaling.original_max_position = kMaxPositions;
  } else if (!short_factors.empty()) {
    scaling.type = RopeType::kLongRope;
    scaling.factors = short_factors;
    BB_ASSIGN_OR_RETURN(scaling.long_factors, ReadDivisors(file, "rope_factors_long.weight", half));
    scaling.original_max_position = config->max_position_embeddings;
    BB_RETURN_IF_ERROR(metadata.ReadInteger(
        "rope.scaling.original_context_length", 1, kMaxPositions, &scaling.original_max_position));
    BB_RETURN_IF_ERROR(
        metadata.ReadNumber("rope.scaling.attn_factor", 1e-3, 1e3, &scaling.attention_factor));
  }
  return absl::OkStatus();
}

absl::Status ReadWindow(const GgufMetadata& metadata, ModelConfig* config) {
  const GgufFacts& facts = FamilyOf(config->architecture).gguf;
  int64_t window = facts.default_window;
  BB_RETURN_IF_ERROR(metadata.ReadInteger("attention.sliding_window", 0, kMaxPositions, &window));
  if (window == 0) return absl::OkStatus();
  config->sliding_window = window;
  int64_t period = facts.window_period;
  const GgufValue* pattern = metadata.Find("attention.sliding_window_pattern");
  if (pattern != nullptr) {
    if (!pattern->Integer().has_value()) {
      return metadata.Unsupported("attention.sliding_window_pattern", "is not one number");
    }
    BB_RETURN_IF_ERROR(
        metadata.ReadInteger("attention.sliding_window_pattern", 0, kMaxLayers, &period));
  }
  // Every `period`-th layer sees everything; 0: none does.
  for (int64_t layer = 0; layer < config->num_hidden_layers; ++layer) {
    config->sliding_layers.push_back(period == 0 || layer % period < period - 1);
  }
  if (facts.sliding_rope_theta.has_value()) {
    double theta = *facts.sliding_rope_theta;
    BB_RETURN_IF_ERROR(metadata.ReadNumber("rope.freq_base_swa", 1, 1e15, &theta));
    config->sliding_rope_theta = theta;
  } else if (metadata.Find("rope.freq_base_swa") != nullptr) {
    return metadata.Unsupported("rope.freq_base_swa", "is not supported for this architecture");
  }
  return absl::OkStatus();
}

absl::Status ReadSoftCaps(const GgufMetadata& metadata,
                          const GgufFacts& facts,
                          ModelConfig* config) {
  config->attention_soft_cap = facts.attention_soft_cap;
  config->final_soft_cap = facts.final_soft_cap;
  if (facts.attention_soft_cap != 0) {
    BB_RETURN_IF_ERROR(
        metadata.ReadNumber("attn_logit_softcapping", 1e-3, 1e6, &config->attention_soft_cap));
  } else if (metadata.Find("attn_logit_softcapping") != nullptr) {
    return metadata.Unsupported("attn_logit_softcapping", "is not supported for this architecture");
  }
  if (facts.final_soft_cap_key) {
    return metadata.ReadNumber("final_logit_softcapping", 0, 1e6, &config->final_soft_cap);
  }
  if (metadata.Find("final_logit_softcapping") != nullptr) {
    return metadata.Unsupported("final_logit_softcapping",
                                "is not supported for this architecture");
  }
  return absl::OkStatus();
}

absl::Status ReadTokens(const GgufFile& file, ModelConfig* config) {
  int64_t bos = -1;
  BB_RETURN_IF_ERROR(
      GgufMetadata(file, "tokenizer.ggml.").ReadInteger("bos_token_id", 0, UINT32_MAX, &bos));
  // Some writers give ids that the vocabulary does not have, for "none".
  if (bos >= 0 && bos < config->vocab_size) config->bos_token_id = static_cast<int32_t>(bos);
  BB_ASSIGN_OR_RETURN(config->eos_token_ids, EndTokens(file, config->vocab_size));
  return absl::OkStatus();
}

}  // namespace

double GgufAttentionScale(const ModelConfig& config) {
  const int64_t at_layers = FamilyOf(config.architecture).gguf.square_heads_at_layers;
  const bool square = at_layers != 0 && config.num_hidden_layers == at_layers;
  const int64_t width = square ? config.hidden_size / config.num_attention_heads : config.head_dim;
  return 1.0 / std::sqrt(static_cast<double>(width));
}

absl::StatusOr<ModelConfig> ConfigFromGguf(const GgufFile& file) {
  ModelConfig config;
  BB_RETURN_IF_ERROR(ReadArchitecture(file, &config));
  const GgufMetadata metadata(file, absl::StrCat(config.architecture_name, "."));
  BB_RETURN_IF_ERROR(RefuseUnknownKeys(file, metadata));
  BB_RETURN_IF_ERROR(ReadSizes(file, metadata, &config));
  if (metadata.Find("attention.layer_norm_rms_epsilon") == nullptr) {
    return metadata.Missing("attention.layer_norm_rms_epsilon");
  }
  BB_RETURN_IF_ERROR(
      metadata.ReadNumber("attention.layer_norm_rms_epsilon", 1e-30, 1, &config.rms_norm_eps));
  BB_RETURN_IF_ERROR(ReadRope(file, metadata, &config));
  BB_RETURN_IF_ERROR(ReadWindow(metadata, &config));
  BB_RETURN_IF_ERROR(ReadTokens(file, &config));

  const Family& family = FamilyOf(config.architecture);
  config.activation = family.activation;
  config.post_norms = family.post_norms;
  config.qk_norm = family.qk_norm;
  config.fused_projections = family.fused_projections;
  if (family.scaled_embedding) {
    config.embedding_scale = std::sqrt(static_cast<float>(config.hidden_size));
  }
  config.attention_scale = GgufAttentionScale(config);
  config.tie_word_embeddings = family.always_tied || !HasTensor(file, "output.weight");
  config.qkv_bias = HasTensor(file, "blk.0.attn_q.bias");
  config.o_bias = HasTensor(file, "blk.0.attn_output.bias");
  config.mlp_bias = HasTensor(file, "blk.0.ffn_down.bias");
  BB_RETURN_IF_ERROR(ReadSoftCaps(metadata, family.gguf, &config));
  return config;
}

}  // namespace bitbudget
