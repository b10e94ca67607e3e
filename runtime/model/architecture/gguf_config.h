#ifndef BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_CONFIG_H_
#define BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_CONFIG_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/model/architecture/config.h"
#include "runtime/model/checkpoint/gguf.h"
#include "runtime/model/checkpoint/gguf_writer.h"

namespace bitbudget {

// The configuration that a GGUF file's metadata and tensor list describe, with llama.cpp's meaning
// of every key and of its absence (docs/models.md). Refuses, naming file, key and value, what this
// build does not run: other architectures, experts, yarn scaling, unknown keys of the architecture.
// Rotary divisors are read from the file's tensors.
absl::StatusOr<ModelConfig> ConfigFromGguf(const GgufFile& file);

// What llama.cpp multiplies scores by: it follows from the family and the number of layers, not
// from a key.
double GgufAttentionScale(const ModelConfig& config);

// The other direction: general.architecture and the architecture's keys. kUnimplemented, with the
// field and value, where llama.cpp has no key for what the configuration says (a fixed attention
// scale, a pattern of sliding layers). Tokens, name and file type are added elsewhere. `path`
// is named in messages.
absl::Status AddGgufConfig(const ModelConfig& config, const std::string& path, GgufWriter* writer);

// The divisors of the rotary frequencies for a tensor "rope_freqs.weight" (Llama 3),
// [rotary_dim / 2]; empty: the model needs none.
std::vector<float> GgufRopeDivisors(const ModelConfig& config);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_CONFIG_H_
