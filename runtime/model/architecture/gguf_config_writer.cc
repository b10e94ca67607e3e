#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/gguf_config.h"
#include "runtime/model/architecture/gguf_facts.h"
#include "runtime/model/architecture/gguf_names.h"
#include "runtime/model/architecture/rope.h"

namespace bitbudget {
namespace {

using internal::AttentionScale;
using internal::IsGemma;
using internal::kGemma2Period;
using internal::kGemma3Period;
using internal::kGemma3SlidingTheta;

absl::Status NoKeyFor(const std::string& path, const ModelConfig& config, absl::string_view what) {
  return absl::UnimplementedError(absl::StrCat(path,
                                               ": ",
                                               what,
                                               " cannot be written for llama.cpp: its ",
                                               GgufArchitecture(config.architecture),
                                               " has no key for it"));
}

absl::Status AddWindow(const ModelConfig& config,
                       const std::string& path,
                       const std::string& prefix,
                       GgufWriter* writer) {
  if (!config.sliding_window.has_value() || config.sliding_layers.empty()) {
    if (config.architecture == Architecture::kGemma2) {
      return NoKeyFor(path, config, "attention without sliding layers");
    }
    return absl::OkStatus();
  }
  // llama.cpp's Llama, Qwen and Phi attend to everything, so a window only says what was trained.
  if (config.architecture == Architecture::kPhi3 || IsGemma(config.architecture)) {
    writer->AddU32(prefix + "attention.sliding_window",
                   static_cast<uint32_t>(*config.sliding_window));
  }
  if (!IsGemma(config.architecture)) return absl::OkStatus();
  const bool gemma2 = config.architecture == Architecture::kGemma2;
  const int64_t period = gemma2 ? kGemma2Period : kGemma3Period;
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
  if (gemma2) {
    if (config.sliding_rope_theta.has_value() && *config.sliding_rope_theta != config.rope_theta) {
      writer->AddF32(prefix + "rope.freq_base_swa", static_cast<float>(*config.sliding_rope_theta));
    }
  } else if (config.sliding_rope_theta.value_or(config.rope_theta) != kGemma3SlidingTheta) {
    writer->AddF32(prefix + "rope.freq_base_swa",
                   static_cast<float>(config.sliding_rope_theta.value_or(config.rope_theta)));
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
             config.architecture != Architecture::kPhi3) {
    divisors.assign(config.rope_scaling.factors.begin(), config.rope_scaling.factors.end());
  }
  return divisors;
}

absl::Status AddGgufConfig(const ModelConfig& config, const std::string& path, GgufWriter* writer) {
  const std::string name = GgufArchitecture(config.architecture);
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
  } else if (scaling.type == RopeType::kLongRope && config.architecture == Architecture::kPhi3) {
    add("rope.scaling.original_context_length", scaling.original_max_position);
    writer->AddF32(prefix + "rope.scaling.attn_factor",
                   static_cast<float>(scaling.attention_factor));
  } else if (scaling.type == RopeType::kLongRope && scaling.attention_factor != 1) {
    return NoKeyFor(path, config, "an attention factor of longrope");
  }

  if (std::abs(config.attention_scale / AttentionScale(config) - 1) > 1e-6) {
    return NoKeyFor(path,
                    config,
                    absl::StrCat("query_pre_attn_scalar ",
                                 1 / (config.attention_scale * config.attention_scale)));
  }
  if (config.architecture == Architecture::kPhi3 && config.q_size() != config.hidden_size) {
    return NoKeyFor(path, config, absl::StrCat("head_dim ", config.head_dim));
  }
  if (config.architecture == Architecture::kGemma2) {
    if (config.attention_soft_cap == 0 || config.final_soft_cap == 0) {
      return NoKeyFor(path, config, "a soft cap of none");
    }
    writer->AddF32(prefix + "attn_logit_softcapping",
                   static_cast<float>(config.attention_soft_cap));
  } else if (config.attention_soft_cap != 0) {
    return NoKeyFor(path, config, "attn_logit_softcapping");
  }
  if (config.final_soft_cap != 0) {
    if (!IsGemma(config.architecture)) return NoKeyFor(path, config, "final_logit_softcapping");
    writer->AddF32(prefix + "final_logit_softcapping", static_cast<float>(config.final_soft_cap));
  }
  const bool biased = config.architecture == Architecture::kLlama ||
                      config.architecture == Architecture::kMistral ||
                      config.architecture == Architecture::kQwen2;
  if ((config.qkv_bias || config.o_bias || config.mlp_bias) && !biased) {
    return NoKeyFor(path, config, "a bias");
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
