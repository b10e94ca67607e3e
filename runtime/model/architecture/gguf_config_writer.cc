#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/families.h"
#include "runtime/model/architecture/gguf_config.h"
#include "runtime/model/architecture/rope.h"

namespace bitbudget {
namespace {

absl::Status NoKeyFor(const std::string& path, const ModelConfig& config, absl::string_view what) {
  return absl::UnimplementedError(absl::StrCat(path,
                                               ": ",
                                               what,
                                               " cannot be written for llama.cpp: its ",
                                               FamilyOf(config.architecture).gguf.name,
                                               " has no key for it"));
}

absl::Status AddWindow(const ModelConfig& config,
                       const std::string& path,
                       const std::string& prefix,
                       GgufWriter* writer) {
  const GgufFacts& facts = FamilyOf(config.architecture).gguf;
  if (!config.sliding_window.has_value() || config.sliding_layers.empty()) {
    if (facts.default_window != 0) {
      return NoKeyFor(path, config, "attention without sliding layers");
    }
    return absl::OkStatus();
  }
  if (facts.writes_window) {
    writer->AddU32(prefix + "attention.sliding_window",
                   static_cast<uint32_t>(*config.sliding_window));
  }
  const int64_t period = facts.window_period;
  if (period == 0) return absl::OkStatus();
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    if (config.Slides(layer) != (layer % period < period - 1)) {
      return NoKeyFor(path,
                      config,
                      absl::StrCat("layer ",
                                   layer,
                                   " of type ",
                                   config.Slides(layer) ? "sliding" : "full",
                                   "_attention"));
    }
  }
  const double theta = config.sliding_rope_theta.value_or(config.rope_theta);
  if (theta != facts.sliding_rope_theta.value_or(config.rope_theta)) {
    writer->AddF32(prefix + "rope.freq_base_swa", static_cast<float>(theta));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<float> GgufRopeDivisors(const ModelConfig& config) {
  std::vector<float> divisors;
  if (config.rope_scaling.type == RopeType::kLlama3) {
    const std::vector<double> scaled =
        RopeFrequencies(config.rope_theta, config.rope_scaling, config.rotary_dim);
    const std::vector<double> unscaled =
        RopeFrequencies(config.rope_theta, RopeScaling(), config.rotary_dim);
    for (size_t i = 0; i < scaled.size(); ++i) {
      divisors.push_back(static_cast<float>(unscaled[i] / scaled[i]));
    }
  } else if (config.rope_scaling.type == RopeType::kLongRope &&
             !FamilyOf(config.architecture).gguf.long_rope) {
    divisors.assign(config.rope_scaling.factors.begin(), config.rope_scaling.factors.end());
  }
  return divisors;
}

absl::Status AddGgufConfig(const ModelConfig& config, const std::string& path, GgufWriter* writer) {
  const GgufFacts& facts = FamilyOf(config.architecture).gguf;
  const std::string name = facts.name;
  const std::string prefix = name + ".";
  const auto add = [&](const char* key, int64_t value) {
    writer->AddU32(prefix + key, static_cast<uint32_t>(value));
  };
  writer->AddText("general.architecture", name);
  add("block_count", config.num_hidden_layers);
  add("context_length", config.max_position_embeddings);
  add("embedding_length", config.hidden_size);
  add("feed_forward_length", config.intermediate_size);
  add("attention.head_count", config.num_attention_heads);
  add("attention.head_count_kv", config.num_key_value_heads);
  add("attention.key_length", config.head_dim);
  add("attention.value_length", config.head_dim);
  add("vocab_size", config.vocab_size);
  writer->AddF32(prefix + "attention.layer_norm_rms_epsilon",
                 static_cast<float>(config.rms_norm_eps));
  add("rope.dimension_count", config.rotary_dim);
  writer->AddF32(prefix + "rope.freq_base", static_cast<float>(config.rope_theta));
  BB_RETURN_IF_ERROR(AddWindow(config, path, prefix, writer));

  const RopeScaling& scaling = config.rope_scaling;
  if (scaling.type == RopeType::kLinear) {
    writer->AddText(prefix + "rope.scaling.type", "linear");
    writer->AddF32(prefix + "rope.scaling.factor", static_cast<float>(scaling.factor));
  } else if (scaling.type == RopeType::kLongRope && facts.long_rope) {
    add("rope.scaling.original_context_length", scaling.original_max_position);
    writer->AddF32(prefix + "rope.scaling.attn_factor",
                   static_cast<float>(scaling.attention_factor));
  } else if (scaling.type == RopeType::kLongRope && scaling.attention_factor != 1) {
    return NoKeyFor(path, config, "an attention factor of longrope");
  }

  if (std::abs(config.attention_scale / GgufAttentionScale(config) - 1) > 1e-6) {
    return NoKeyFor(path,
                    config,
                    absl::StrCat("query_pre_attn_scalar ",
                                 1 / (config.attention_scale * config.attention_scale)));
  }
  if (facts.long_rope && config.q_size() != config.hidden_size) {
    return NoKeyFor(path, config, absl::StrCat("head_dim ", config.head_dim));
  }
  if (facts.attention_soft_cap != 0) {
    if (config.attention_soft_cap == 0 || config.final_soft_cap == 0) {
      return NoKeyFor(path, config, "a soft cap of none");
    }
    writer->AddF32(prefix + "attn_logit_softcapping",
                   static_cast<float>(config.attention_soft_cap));
  } else if (config.attention_soft_cap != 0) {
    return NoKeyFor(path, config, "attn_logit_softcapping");
  }
  if (config.final_soft_cap != 0) {
    if (!facts.final_soft_cap_key) return NoKeyFor(path, config, "final_logit_softcapping");
    writer->AddF32(prefix + "final_logit_softcapping", static_cast<float>(config.final_soft_cap));
  }
  if ((config.qkv_bias || config.o_bias || config.mlp_bias) && !facts.biases) {
    return NoKeyFor(path, config, "a bias");
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
