#include "tests/support/tiny_model.h"

#include <glog/logging.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/base/float16.h"
#include "runtime/base/random.h"
#include "runtime/model/components.h"
#include "runtime/model/safetensors.h"

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

nlohmann::json MakeConfig(const TinyModelOptions& options) {
  const bool mistral = options.architecture == Architecture::kMistral;
  nlohmann::json config = {
      {"architectures", {mistral ? "MistralForCausalLM" : "LlamaForCausalLM"}},
      {"model_type", mistral ? "mistral" : "llama"},
      {"hidden_act", "silu"},
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
      {"tie_word_embeddings", options.tied},
      {"attention_bias", options.attention_bias},
      {"mlp_bias", options.mlp_bias},
      {"bos_token_id", 1},
      {"eos_token_id", 2},
  };
  if (options.head_dim.has_value()) config["head_dim"] = *options.head_dim;
  if (!options.rope_scaling.empty()) {
    config["rope_scaling"] = nlohmann::json::parse(options.rope_scaling);
  }
  if (options.sliding_window.has_value()) {
    config["sliding_window"] = *options.sliding_window;
  } else if (mistral) {
    config["sliding_window"] = nullptr;
  }
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

TestCheckpoint MakeTinyCheckpoint(const TinyModelOptions& options) {
  TestCheckpoint checkpoint;
  checkpoint.config = MakeConfig(options);
  const auto config = ParseConfig(checkpoint.config.dump(), "tiny model");
  CHECK(config.ok()) << config.status();

  Generator generator(options, &checkpoint);
  for (const Component& component : ListComponents(*config)) {
    const bool lookup_only = component.kind == ComponentKind::kEmbedding && !options.tied;
    const double inputs = lookup_only ? 1.0 : static_cast<double>(component.cols);
    generator.Add(component.name + ".weight",
                  {component.rows, component.cols},
                  0.0,
                  options.weight_scale / std::sqrt(inputs));
  }
  constexpr double kNormDeviation = 0.1;
  constexpr double kBiasDeviation = 0.1;
  for (int64_t b = 0; b < options.layers; ++b) {
    const std::string block = absl::StrCat("model.layers.", b, ".");
    for (const char* norm : {"input_layernorm.weight", "post_attention_layernorm.weight"}) {
      generator.Add(block + norm, {options.hidden}, 1.0, kNormDeviation);
    }
    const auto add_bias = [&](const char* name, int64_t size) {
      generator.Add(block + name, {size}, 0.0, kBiasDeviation);
    };
    if (options.attention_bias) {
      add_bias("self_attn.q_proj.bias", config->q_size());
      add_bias("self_attn.k_proj.bias", config->kv_size());
      add_bias("self_attn.v_proj.bias", config->kv_size());
      add_bias("self_attn.o_proj.bias", options.hidden);
    }
    if (options.mlp_bias) {
      add_bias("mlp.gate_proj.bias", options.ffn);
      add_bias("mlp.up_proj.bias", options.ffn);
      add_bias("mlp.down_proj.bias", options.hidden);
    }
  }
  generator.Add("model.norm.weight", {options.hidden}, 1.0, kNormDeviation);
  return checkpoint;
}

void WriteCheckpoint(const TestCheckpoint& checkpoint, const std::string& folder, int shards) {
  WriteTestFile(folder + "/config.json", checkpoint.config.dump(2));
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
