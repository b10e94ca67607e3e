#ifndef BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_NAMES_H_
#define BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_NAMES_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "runtime/model/architecture/config.h"

namespace bitbudget {

// The tensors of the supported architectures in GGUF files and in Hugging Face checkpoints:
// "blk.3.attn_q.weight" is "model.layers.3.self_attn.q_proj.weight". Empty for a name that has no
// place in the architecture.
std::optional<std::string> HuggingFaceTensorName(absl::string_view gguf, Architecture architecture);
std::optional<std::string> GgufTensorName(absl::string_view hugging_face,
                                          Architecture architecture);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_NAMES_H_
