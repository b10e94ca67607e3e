#include "tests/support/tiny_model.h"

#include <glog/logging.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "nlohmann/json.hpp"
#include "runtime/base/float16.h"
#include "runtime/base/random.h"
#include "runtime/model/architecture/families.h"
#include "runtime/model/checkpoint/safetensors.h"
#include "runtime/model/decoder/components.h"

namespace bitbudget {
namespace {

// Mean 0, variance 1, close to normal; exact arithmetic, so the same on every machine.
float Normal(Random& random) {
  double sum = -6;
  for (int i = 0; i < 12; ++i) sum += random.Uniform();
  return static_cast<float>(sum);
}

class Generator {
 public:
  Generator(const TinyModelOptions& options, TestCheckpoint* checkpoint)
      : options_(options), checkpoint_(checkpoint) {}

  // Values mean + deviation * normal.
  void Add(const std::string& name, std::vector<int64_t> shape, double mean, double deviation) {
    int64_t size = 1;
    for (const int64_t s : shape) size *= s;
    Random random(options_.seed, {checkpoint_->tensors.size()});
    std::vector<float> values(size);
    for (float& value : values) value = static_cast<float>(mean + deviation * Normal(random));
    checkpoint_->tensors.push_back({name,
                                    SafetensorsDType(options_.dtype),
                                    std::move(shape),
                                    TensorBytes(values, options_.dtype)});
  }

 private:
  const TinyModelOptions& options_;
  TestCheckpoint* checkpoint_;
};

using nlohmann::json;

// What the family's checkpoints have beside the common fields, as they spell it. Soft caps
// and windows are small enough to matter in a model with activations of order one.
json OwnFields(const TinyModelOptions& options, int64_t head_dim) {
  const json window = options.sliding_window.has_value() ? json(*options.sliding_window) : json();
  const int64_t short_window = options.sliding_window.value_or(11);
  switch (options.architecture) {
    case Architecture::kLlama:
      return {{"hidden_act", "silu"},
              {"attention_bias", options.attention_bias},
              {"mlp_bias", options.mlp_bias}};
    case Architecture::kMistral:
      return {{"hidden_act", "silu"},
              {"attention_bias", options.attention_bias},
              {"mlp_bias", options.mlp_bias},
              {"sliding_window", window}};
    case Architecture::kQwen2:
      return {{"hidden_act", "silu"},
              {"use_sliding_window", options.sliding_window.has_value()},
              {"sliding_window", options.sliding_window.value_or(options.max_positions)},
              {"max_window_layers", options.layers / 2}};
    case Architecture::kQwen3:
      return {{"hidden_act", "silu"},
              {"head_dim", head_dim},
              {"attention_bias", options.attention_bias},
              {"use_sliding_window", options.sliding_window.has_value()},
              {"sliding_window", window},
              {"max_window_layers", options.layers / 2}};
    case Architecture::kGemma2:
      return {{"hidden_act", "gelu_pytorch_tanh"},
              {"hidden_activation", "gelu_pytorch_tanh"},
              {"head_dim", head_dim},
              {"query_pre_attn_scalar", head_dim},
              {"attn_logit_softcapping", 2.0},
              {"final_logit_softcapping", 3.0},
              {"sliding_window", short_window}};
    case Architecture::kGemma3:
      return {{"hidden_activation", "gelu_pytorch_tanh"},
              {"head_dim", head_dim},
              {"query_pre_attn_scalar", head_dim},
              {"attn_logit_softcapping", nullptr},
              {"final_logit_softcapping", nullptr},
              {"rope_local_base_freq", options.rope_theta / 10},
              {"sliding_window", short_window},
              {"sliding_window_pattern", std::min<int64_t>(6, options.layers)}};
    case Architecture::kPhi3:
      return {{"hidden_act", "silu"},
              {"original_max_position_embeddings", options.max_positions / 2},
              {"sliding_window", window}};
  }
  LOG(FATAL) << "no such architecture";
}

json MakeConfig(const TinyModelOptions& options) {
  const int64_t head_dim = options.head_dim.value_or(options.hidden / options.heads);
  const bool gemma = options.architecture == Architecture::kGemma2 ||
                     options.architecture == Architecture::kGemma3;
  json config = {
      {"architectures", {ArchitectureName(options.architecture)}},
      {"model_type", FamilyOf(options.architecture).model_type},
      {"hidden_size", options.hidden},
      {"intermediate_size", options.ffn},
      {"num_hidden_layers", options.layers},
      {"num_attention_heads", options.heads},
      {"num_key_value_heads", options.kv_heads},
      {"vocab_size", options.vocab},
      {"max_position_embeddings", options.max_positions},
      {"rms_norm_eps", 1e-5},
      {"rope_theta", options.rope_theta},
      {"rope_scaling", nullptr},
      {"tie_word_embeddings", options.tied || gemma},
      {"bos_token_id", 1},
      {"eos_token_id", 2},
  };
  config.update(OwnFields(options, head_dim));
  if (options.head_dim.has_value()) config["head_dim"] = *options.head_dim;
  if (!options.rope_scaling.empty()) config["rope_scaling"] = json::parse(options.rope_scaling);
  if (!options.fields.empty()) config.update(json::parse(options.fields));
  return config;
}

}  // namespace

std::string TensorBytes(const std::vector<float>& values, Format dtype) {
  std::string bytes;
  for (const float value : values) {
    uint32_t bits = std::bit_cast<uint32_t>(value);
    if (dtype == kFormatF16) bits = FloatToHalf(value);
    if (dtype == kFormatBF16) bits = FloatToBFloat16(value);
    for (int i = 0; i < dtype.bits / 8; ++i) {
      bytes.push_back(static_cast<char>(bits >> (8 * i)));
    }
  }
  return bytes;
}

void TestCheckpoint::SetField(const std::string& name, const std::string& value) {
  json fields = json::parse(config);
  fields[name] = json::parse(value);
  config = fields.dump(2);
}

TestTensor& TestCheckpoint::Tensor(const std::string& name) {
  for (TestTensor& tensor : tensors) {
    if (tensor.name == name) return tensor;
  }
  LOG(FATAL) << "no tensor " << name;
}

void TestCheckpoint::Remove(const std::string& name) {
  const size_t removed =
      std::erase_if(tensors, [&](const TestTensor& tensor) { return tensor.name == name; });
  CHECK_EQ(removed, 1u) << name;
}

std::vector<Architecture> AllArchitectures() {
  std::vector<Architecture> all;
  for (const Family& family : Families()) all.push_back(family.architecture);
  return all;
}

TestCheckpoint MakeTinyCheckpoint(const TinyModelOptions& options) {
  TestCheckpoint checkpoint;
  checkpoint.config = MakeConfig(options).dump(2);
  const auto config = ParseConfig(checkpoint.config, "tiny model");
  CHECK(config.ok()) << config.status();

  Generator generator(options, &checkpoint);
  for (const Component& component : ListComponents(*config)) {
    if (component.stored_row > 0) continue;  // written with the first part of its tensor
    const bool lookup_only =
        component.kind == ComponentKind::kEmbedding && !config->tie_word_embeddings;
    const double inputs = lookup_only ? 1.0 : static_cast<double>(component.cols);
    generator.Add(component.stored_name,
                  {component.stored_rows, component.cols},
                  0.0,
                  options.weight_scale / std::sqrt(inputs));
  }
  constexpr double kNormDeviation = 0.1;
  constexpr double kBiasDeviation = 0.1;
  const double norm_mean = 1.0 - config->norm_weight_offset;
  for (int64_t b = 0; b < options.layers; ++b) {
    const std::string layer = absl::StrCat("model.layers.", b, ".");
    const auto add_norm = [&](const char* name, int64_t size) {
      generator.Add(layer + name + ".weight", {size}, norm_mean, kNormDeviation);
    };
    const auto add_bias = [&](const char* name, int64_t size) {
      generator.Add(layer + name + ".bias", {size}, 0.0, kBiasDeviation);
    };
    add_norm("input_layernorm", options.hidden);
    add_norm("post_attention_layernorm", options.hidden);
    if (config->post_norms) {
      add_norm("pre_feedforward_layernorm", options.hidden);
      add_norm("post_feedforward_layernorm", options.hidden);
    }
    if (config->qk_norm) {
      add_norm("self_attn.q_norm", config->head_dim);
      add_norm("self_attn.k_norm", config->head_dim);
    }
    if (config->qkv_bias) {
      add_bias("self_attn.q_proj", config->q_size());
      add_bias("self_attn.k_proj", config->kv_size());
      add_bias("self_attn.v_proj", config->kv_size());
    }
    if (config->o_bias) add_bias("self_attn.o_proj", options.hidden);
    if (config->mlp_bias) {
      add_bias("mlp.gate_proj", options.ffn);
      add_bias("mlp.up_proj", options.ffn);
      add_bias("mlp.down_proj", options.hidden);
    }
  }
  generator.Add("model.norm.weight", {options.hidden}, norm_mean, kNormDeviation);
  return checkpoint;
}

void WriteCheckpoint(const TestCheckpoint& checkpoint, const std::string& folder, int shards) {
  WriteTestFile(folder + "/config.json", checkpoint.config);
  if (shards == 1) {
    WriteTestFile(folder + "/model.safetensors", SafetensorsFile(checkpoint.tensors));
    return;
  }
  nlohmann::json weight_map;
  for (int shard = 0; shard < shards; ++shard) {
    const std::string name = absl::StrFormat("model-%05d-of-%05d.safetensors", shard + 1, shards);
    std::vector<TestTensor> part;
    for (size_t i = shard; i < checkpoint.tensors.size(); i += shards) {
      part.push_back(checkpoint.tensors[i]);
      weight_map[checkpoint.tensors[i].name] = name;
    }
    WriteTestFile(folder + "/" + name, SafetensorsFile(part));
  }
  const nlohmann::json index = {{"metadata", nlohmann::json::object()}, {"weight_map", weight_map}};
  WriteTestFile(folder + "/model.safetensors.index.json", index.dump(2));
}

TinyModel::TinyModel(const TinyModelOptions& options) {
  WriteCheckpoint(MakeTinyCheckpoint(options), dir_.path(), options.shards);
}

}  // namespace bitbudget
