#ifndef BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_CHECKPOINT_H_
#define BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_CHECKPOINT_H_

#include <string>

#include "absl/status/statusor.h"
#include "runtime/model/architecture/checkpoint.h"

namespace bitbudget {

// Opens a GGUF file, or a split by its first file, as a model: its configuration, its tensors under
// their Hugging Face names (rows of Llama's q and k in Hugging Face's order), its tokenizer. Errors
// name file, key or tensor.
absl::StatusOr<Checkpoint> OpenGguf(const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_CHECKPOINT_H_
