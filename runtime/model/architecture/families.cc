#include "runtime/model/architecture/families.h"

#include <array>
#include <cstddef>

namespace bitbudget {
namespace {

constexpr std::array kFamilies = {
    Family{.architecture = Architecture::kLlama,
           .name = "LlamaForCausalLM",
           .model_type = "llama",
           .spoken = "Llama",
           .defaults = {11008, 32, 32, 0, 0, 2048, 1e-6, 1, 2, {}},
           .gguf = {.name = "llama", .interleaved_qk = true, .biases = true},
           .window_rule = WindowRule::kNone},
    Family{.architecture = Architecture::kMistral,
           .name = "MistralForCausalLM",
           .model_type = "mistral",
           .spoken = "Mistral",
           .defaults = {14336, 32, 32, 8, 0, 131072, 1e-6, 1, 2, 4096},
           .gguf = {.name = "llama", .interleaved_qk = true, .biases = true}},
    Family{.architecture = Architecture::kQwen2,
           .name = "Qwen2ForCausalLM",
           .model_type = "qwen2",
           .spoken = "Qwen",
           .defaults = {22016, 32, 32, 32, 0, 32768, 1e-6, kNoToken, kNoToken, 4096},
           .gguf = {.name = "qwen2", .biases = true},
           .biases = BiasRule::kQkv,
           .window_rule = WindowRule::kFromLayer},
    Family{.architecture = Architecture::kQwen3,
           .name = "Qwen3ForCausalLM",
           .model_type = "qwen3",
           .spoken = "Qwen",
           .defaults = {22016, 32, 32, 32, 128, 32768, 1e-6, kNoToken, kNoToken, 4096},
           .gguf = {.name = "qwen3"},
           .qk_norm = true,
           .biases = BiasRule::kAttentionField,
           .window_rule = WindowRule::kFromLayer},
    Family{.architecture = Architecture::kGemma2,
           .name = "Gemma2ForCausalLM",
           .model_type = "gemma2",
           .spoken = "Gemma",
           .defaults = {9216, 26, 8, 4, 256, 8192, 1e-6, 2, 1, 4096},
           .gguf = {.name = "gemma2",
                    .writes_window = true,
                    .default_window = 4096,
                    .window_period = 2,
                    .attention_soft_cap = 50,
                    .final_soft_cap = 30,
                    .final_soft_cap_key = true,
                    .square_heads_at_layers = 46},
           .activation = Activation::kGeluTanh,
           .scaled_embedding = true,
           .norm_weight_offset = 1,
           .post_norms = true,
           .always_tied = true,
           .biases = BiasRule::kAttentionField,
           .query_scalar = 256,
           .attention_soft_cap = 50,
           .final_soft_cap = 30,
           .window_rule = WindowRule::kPeriodic,
           .window_period = 2},
    Family{.architecture = Architecture::kGemma3,
           .name = "Gemma3ForCausalLM",
           .model_type = "gemma3_text",
           .spoken = "Gemma",
           .defaults = {9216, 26, 8, 4, 256, 131072, 1e-6, 2, 1, 4096},
           .gguf = {.name = "gemma3",
                    .writes_window = true,
                    .window_period = 6,
                    .final_soft_cap_key = true,
                    .sliding_rope_theta = 10000,
                    .square_heads_at_layers = 62},
           .activation = Activation::kGeluTanh,
           .scaled_embedding = true,
           .norm_weight_offset = 1,
           .post_norms = true,
           .qk_norm = true,
           .always_tied = true,
           .biases = BiasRule::kAttentionField,
           .query_scalar = 256,
           .attention_soft_cap = 0,
           .final_soft_cap = 0,
           .window_rule = WindowRule::kPeriodic,
           .window_period = 6,
           .window_period_field = true,
           .rope_theta = 1e6,
           .sliding_rope_theta = 10000},
    Family{.architecture = Architecture::kPhi3,
           .name = "Phi3ForCausalLM",
           .model_type = "phi3",
           .spoken = "Phi 3",
           .defaults = {8192, 32, 32, 0, 0, 4096, 1e-5, 1, 32000, {}},
           .gguf = {.name = "phi3", .writes_window = true, .long_rope = true},
           .fused_projections = true,
           .biases = BiasRule::kNever,
           .partial_rotary = true,
           .long_rope_positions = 4096,
           .published_code = "modeling_phi3.Phi3ForCausalLM"},
};

constexpr bool RowsStandInOrder() {
  for (size_t i = 0; i < kFamilies.size(); ++i) {
    if (static_cast<size_t>(kFamilies[i].architecture) != i) return false;
  }
  return true;
}
static_assert(RowsStandInOrder(), "the rows follow the order of Architecture");

}  // namespace

std::span<const Family> Families() { return kFamilies; }

const Family& FamilyOf(Architecture architecture) {
  return kFamilies.at(static_cast<size_t>(architecture));
}

const char* ArchitectureName(Architecture architecture) { return FamilyOf(architecture).name; }

const Family* FindGgufFamily(absl::string_view name) {
  for (const Family& family : kFamilies) {
    if (name == family.gguf.name) return &family;
  }
  return nullptr;
}

}  // namespace bitbudget
