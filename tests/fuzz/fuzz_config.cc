// config.json from a stranger: any bytes give a config or one line, and a config that was accepted
// keeps the promises that the rest of the program builds on.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "absl/strings/string_view.h"
#include "runtime/model/architecture/config.h"
#include "runtime/model/decoder/stages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config = bitbudget::ParseConfig(
      absl::string_view(reinterpret_cast<const char*>(data), size), "config.json");
  if (!config.ok()) {
    const absl::string_view message = config.status().message();
    if (message.find('\n') != absl::string_view::npos || message.size() > 1000) abort();
    return 0;
  }
  if (config->head_dim % 2 != 0 || config->head_dim <= 0) abort();
  if (config->num_attention_heads % config->num_key_value_heads != 0) abort();
  if (config->q_size() <= 0 || config->kv_size() <= 0 || config->kv_size() > config->q_size()) {
    abort();
  }
  if (config->rotary_dim % 2 != 0 || config->rotary_dim <= 0 ||
      config->rotary_dim > config->head_dim) {
    abort();
  }
  if (!(config->attention_scale > 0) || !(config->embedding_scale > 0)) abort();
  const size_t layers = static_cast<size_t>(config->num_hidden_layers);
  if (config->sliding_layers.size() != (config->sliding_window.has_value() ? layers : 0)) abort();
  if (config->rope_scaling.type == bitbudget::RopeType::kLongRope &&
      config->rope_scaling.factors.size() != static_cast<size_t>(config->rotary_dim / 2)) {
    abort();
  }
  for (const int32_t id : config->eos_token_ids) {
    if (id < 0 || id >= config->vocab_size) abort();
  }
  if (config->num_hidden_layers < 100) {  // keeps the search fast
    for (const bitbudget::Component& component : bitbudget::ListComponents(*config)) {
      const int stage = bitbudget::FirstAffectedStage(component, *config);
      if (stage < 0 || stage >= bitbudget::NumStages(*config)) abort();
    }
  }
  return 0;
}
