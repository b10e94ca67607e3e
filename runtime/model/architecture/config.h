#ifndef BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_CONFIG_H_
#define BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace bitbudget {

// The families, in the order of the rows of families.cc.
enum class Architecture : uint8_t { kLlama, kMistral, kQwen2, kQwen3, kGemma2, kGemma3, kPhi3 };

// The function between the two halves of an MLP: down(activation(gate) * up).
enum class Activation : uint8_t {
  kSilu,      // x sigmoid(x)
  kGeluTanh,  // x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), "gelu_pytorch_tanh"
};

enum class RopeType : uint8_t {
  kDefault,   // frequencies theta^(-2i/d)
  kLinear,    // all divided by `factor`
  kLlama3,    // low frequencies divided by `factor`, high ones kept, between them a blend
  kLongRope,  // frequency i divided by factors[i]
};

// Position scaling of the rotary embedding (config.json `rope_scaling`).
struct RopeScaling {
  RopeType type = RopeType::kDefault;
  double factor = 1.0;  // kLinear, kLlama3
  // kLlama3 only:
  double low_freq_factor = 1.0;
  double high_freq_factor = 4.0;
  // kLlama3: the context that wavelengths are compared with. kLongRope: `factors` are for contexts
  // up to it.
  int64_t original_max_position = 8192;
  // kLongRope only: divisors of the frequencies, rotary_dim / 2 each. `long_factors` are for
  // contexts beyond original_max_position; they are not run, but belong to the checkpoint.
  std::vector<double> factors = {};
  std::vector<double> long_factors = {};
  // kLongRope only: what cosines and sines are multiplied by.
  double attention_factor = 1.0;
};

// Everything besides the tensors that the forward pass of a decoder-only checkpoint depends on,
// filled by ParseConfig() or from a GGUF file's metadata. The transformer reads these fields only,
// never the architecture.
struct ModelConfig {
  Architecture architecture = Architecture::kLlama;
  std::string architecture_name;  // as the checkpoint spells it

  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;  // even; q and k rows need not add up to hidden_size
  int64_t vocab_size = 0;
  int64_t max_position_embeddings = 0;

  // Embedding rows are multiplied by it: Gemma's sqrt(hidden_size), rounded to float.
  float embedding_scale = 1.0f;
  // The head is the embedding.
  bool tie_word_embeddings = false;
  // Logits become cap * tanh(logit / cap); 0: no cap.
  double final_soft_cap = 0;

  double rms_norm_eps = 1e-6;
  // Norms multiply by this plus the stored weight: 1 for Gemma's Hugging Face checkpoints, 0 for
  // all others (GGUF files of Gemma hold the sum). Added when a checkpoint is loaded.
  float norm_weight_offset = 0.0f;
  // Norms after attention and after the MLP, ahead of the residual sum, beside those before them.
  bool post_norms = false;
  // Every head's query and key are normed (weights [head_dim]) ahead of the rotary embedding.
  bool qk_norm = false;

  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;  // gate, up and down
  // q, k and v are stored as one tensor of rows q, k, v ("self_attn.qkv_proj"), gate and up as one
  // of rows gate, up ("mlp.gate_up_proj").
  bool fused_projections = false;
  Activation activation = Activation::kSilu;

  // Scores are q.k times this; 1 / sqrt(head_dim) unless the checkpoint says otherwise.
  double attention_scale = 0;
  // Scaled scores become cap * tanh(score / cap); 0: no cap.
  double attention_soft_cap = 0;
  // In layers marked in `sliding_layers` position p sees the `sliding_window` positions up to p
  // (itself included), in others all. Empty: no layer slides.
  std::optional<int64_t> sliding_window;
  std::vector<bool> sliding_layers;

  // The first rotary_dim dimensions of a head (even) are rotated, as pairs (i, i + rotary_dim / 2).
  int64_t rotary_dim = 0;
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  // Where set, sliding layers have this theta and no scaling.
  std::optional<double> sliding_rope_theta;

  // The token that a text begins with, if any, and those that end a completion. In a checkpoint the
  // tokenizer has had its say (text_ends.h); until then what config.json or a GGUF file's metadata
  // names.
  std::optional<int32_t> bos_token_id;
  std::vector<int32_t> eos_token_ids;
  bool eos_is_default = false;  // the family's, as config.json has no such field

  int64_t q_size() const { return num_attention_heads * head_dim; }
  int64_t kv_size() const { return num_key_value_heads * head_dim; }
  bool Slides(int64_t layer) const { return !sliding_layers.empty() && sliding_layers[layer]; }
  // Positions that a position of the layer sees, itself included; 0: all up to it.
  int64_t Window(int64_t layer) const { return Slides(layer) ? *sliding_window : 0; }
};

// "LlamaForCausalLM" and so on: config.json `architectures`.
const char* ArchitectureName(Architecture architecture);

// Reads the text of config.json (docs/models.md); `path` is named in messages. Refuses everything
// that would make our forward pass differ from the checkpoint's own (kInvalidArgument or
// kUnimplemented, one line with file, field and value): another architecture or activation, MoE, an
// unknown rope type, sizes that do not fit together.
absl::StatusOr<ModelConfig> ParseConfig(absl::string_view json, const std::string& path);

// kUnimplemented when `context` exceeds the positions that the checkpoint's short rope factors are
// for: then the long ones would apply to all positions.
absl::Status CheckContext(const ModelConfig& config, const std::string& path, int64_t context);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_CONFIG_H_
