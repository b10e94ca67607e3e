#ifndef BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_FACTS_H_
#define BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_FACTS_H_

#include <cmath>
#include <cstdint>

#include "runtime/model/architecture/config.h"

// What llama.cpp knows about architectures without a key in the file.
namespace bitbudget::internal {

// What llama.cpp assumes where a file says nothing.
inline constexpr double kDefaultRopeTheta = 10000;
inline constexpr int64_t kGemma2Window = 4096;
inline constexpr double kGemma2AttentionCap = 50;
inline constexpr double kGemma2FinalCap = 30;
inline constexpr int64_t kGemma2Period = 2;
inline constexpr int64_t kGemma3Period = 6;
inline constexpr double kGemma3SlidingTheta = 10000;
// Gemma models of this many layers (27B) scale attention by the width of a head of a square
// projection instead of head_dim: gemma2 and gemma3.
inline constexpr int64_t kGemma2LargeLayers = 46;
inline constexpr int64_t kGemma3LargeLayers = 62;

inline bool IsGemma(Architecture a) {
  return a == Architecture::kGemma2 || a == Architecture::kGemma3;
}

// What llama.cpp has for the architecture and the number of layers, not for a key.
inline double AttentionScale(const ModelConfig& config) {
  const bool large = (config.architecture == Architecture::kGemma2 &&
                      config.num_hidden_layers == kGemma2LargeLayers) ||
                     (config.architecture == Architecture::kGemma3 &&
                      config.num_hidden_layers == kGemma3LargeLayers);
  const int64_t width = large ? config.hidden_size / config.num_attention_heads : config.head_dim;
  return 1.0 / std::sqrt(static_cast<double>(width));
}

}  // namespace bitbudget::internal

#endif  // BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_FACTS_H_
