#ifndef BITBUDGET_RUNTIME_MODEL_CONFIG_H_
#define BITBUDGET_RUNTIME_MODEL_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace bitbudget {

enum class Architecture : uint8_t { kLlama, kMistral };

enum class RopeType : uint8_t { kDefault, kLinear, kLlama3 };

// Position scaling of the rotary embedding (config.json `rope_scaling`).
struct RopeScaling {
  RopeType type = RopeType::kDefault;
  double factor = 1.0;
  // kLlama3 only:
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  int64_t original_max_position = 8192;
};

// What a decoder-only checkpoint says about its geometry. Field names follow config.json.
struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  std::string architecture_name;  // as the checkpoint spells it
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  bool tie_word_embeddings = false;
  bool attention_bias = false;
  bool mlp_bias = false;
  std::optional<int64_t> sliding_window;
  std::optional<int32_t> bos_token_id;
  std::vector<int32_t> eos_token_ids;

  int64_t q_size() const { return num_attention_heads * head_dim; }
  int64_t kv_size() const { return num_key_value_heads * head_dim; }
};

// Reads config.json text. `path` is named in messages. Everything that would make our forward pass
// differ from the checkpoint's own is refused (kInvalidArgument or kUnimplemented) with one line
// naming file, field and value: another architecture or activation, MoE, an unknown rope type,
// sizes that do not fit together.
absl::StatusOr<ModelConfig> ParseConfig(absl::string_view json, const std::string& path);

// kUnimplemented when the checkpoint attends through a sliding window that is shorter than
// `context` positions: the window would change results and is not implemented.
absl::Status CheckContext(const ModelConfig& config, const std::string& path, int64_t context);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_CONFIG_H_
