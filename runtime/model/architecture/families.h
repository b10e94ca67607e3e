#ifndef BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_FAMILIES_H_
#define BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_FAMILIES_H_

#include <cstdint>
#include <optional>
#include <span>

#include "runtime/model/architecture/config.h"

namespace bitbudget {

inline constexpr int32_t kNoToken = -1;

// What an absent field of config.json means: the defaults of Hugging Face's configuration classes.
// 0: no default of its own (head counts and head_dim follow from the other sizes).
struct ConfigDefaults {
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

enum class BiasRule : uint8_t {
  kNever,
  kQkv,             // q, k and v always
  kAttentionField,  // q, k, v and o where attention_bias is true
  kBothFields,      // and gate, up and down where mlp_bias is true
};

// Which layers slide when config.json has a window and does not list layer_types.
enum class WindowRule : uint8_t {
  kNone,       // a window shorter than the context is refused
  kAll,        // all layers; a list that says otherwise is refused
  kFromLayer,  // use_sliding_window, those from max_window_layers on
  kPeriodic,   // all but every window_period-th
};

// What llama.cpp knows about a family without a key in the file, and which keys it reads.
struct GgufFacts {
  const char* name;  // general.architecture; Mistral's files are Llama's
  // The rows of every head of q and k hold the two halves that rotate together interleaved: row
  // 2i + j is Hugging Face's row j * head_dim / 2 + i.
  bool interleaved_qk = false;
  bool biases = false;            // linear layers may have them
  bool writes_window = false;     // the window means something to llama.cpp
  int64_t default_window = 0;     // 0: none unless the file says so
  int64_t window_period = 0;      // every so many-th layer sees everything; 0: none does
  double attention_soft_cap = 0;  // default; 0: the key is not read
  double final_soft_cap = 0;      // default
  bool final_soft_cap_key = false;
  std::optional<double> sliding_rope_theta = {};  // default; empty: the key is not read
  // Models of this many layers scale scores by the width of a head of a square projection instead
  // of head_dim; 0: none do.
  int64_t square_heads_at_layers = 0;
  // LongRoPE's factors are two tensors beside keys of their own, and head_dim is that of a square
  // projection. Other families hold divisors for every context in rope_freqs.weight.
  bool long_rope = false;
};

// What a family's checkpoints mean: everything in which families differ. A new family that behaves
// like these is a value of Architecture and a row here (docs/add-an-architecture.md).
struct Family {
  Architecture architecture;
  const char* name;        // config.json `architectures`
  const char* model_type;  // config.json `model_type`
  const char* spoken;      // in messages
  ConfigDefaults defaults;
  GgufFacts gguf;

  Activation activation = Activation::kSilu;
  bool scaled_embedding = false;  // by sqrt(hidden_size)
  float norm_weight_offset = 0;   // of Hugging Face checkpoints
  bool post_norms = false;
  bool qk_norm = false;
  bool fused_projections = false;
  bool always_tied = false;
  BiasRule biases = BiasRule::kBothFields;

  // query_pre_attn_scalar when it is absent; empty: the field is not read, head_dim counts.
  std::optional<double> query_scalar = {};
  // Soft caps when absent; empty: the fields are not read. 0: none.
  std::optional<double> attention_soft_cap = {};
  std::optional<double> final_soft_cap = {};

  WindowRule window_rule = WindowRule::kAll;
  int64_t window_period = 0;         // kPeriodic
  bool window_period_field = false;  // sliding_window_pattern is read

  double rope_theta = 10000;
  std::optional<double> sliding_rope_theta = {};  // empty: sliding layers are rotated like others
  bool partial_rotary = false;                    // partial_rotary_factor may be below 1
  int64_t long_rope_positions = 0;  // original_max_position_embeddings when absent; 0: required
  // The value of auto_map that names the code that the family was published with; null: none.
  const char* published_code = nullptr;
};

// All families; FamilyOf() is the row of one.
std::span<const Family> Families();
const Family& FamilyOf(Architecture architecture);

// Null: no family has this name in GGUF files. Of those that share it, the first one.
const Family* FindGgufFamily(absl::string_view name);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_FAMILIES_H_
