#ifndef BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_CHECKPOINT_H_
#define BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_CHECKPOINT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/mapped_file.h"
#include "runtime/model/architecture/checkpoint.h"
#include "runtime/model/checkpoint/gguf.h"

namespace bitbudget {

// Opens a GGUF file as a model: its configuration, its tensors under their Hugging Face names (rows
// of Llama's q and k in Hugging Face's order again), its tokenizer. Of a split, the first file is
// given; the others stand beside it ("-00001-of-00003.gguf"). Errors name file, key or tensor.
absl::StatusOr<Checkpoint> OpenGguf(const std::string& path);

// All files of a split, or the one file: containers only, mapped and parsed, in order. The views
// point into `files`.
struct GgufFiles {
  std::vector<MappedFile> files;
  std::vector<GgufFile> parsed;
};
absl::StatusOr<GgufFiles> OpenGgufFiles(const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_GGUF_CHECKPOINT_H_
