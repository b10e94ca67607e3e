#ifndef BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_CHECKPOINT_H_
#define BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_CHECKPOINT_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/mapped_file.h"
#include "runtime/model/architecture/config.h"
#include "runtime/model/checkpoint/safetensors.h"
#include "runtime/model/tokenizer/tokenizer.h"

namespace bitbudget {

// An opened model, independent of its container: configuration, tensors under their Hugging Face
// names, tokenizer. The views point into the mapped files.
struct Checkpoint {
  std::string path;          // the folder or file that was opened
  std::string config_path;   // the file with the configuration
  std::string tensors_path;  // the file that lists the tensors
  std::string config_text;   // covered by the model's fingerprint, besides the tensors
  ModelConfig config;
  std::vector<MappedFile> files;
  std::map<std::string, ArchiveTensor> tensors;
  // Values that tensors point into where no file holds them as they are used.
  std::vector<std::vector<float>> owned;
  std::unique_ptr<Tokenizer> tokenizer;  // null when the checkpoint has none
};

// Opens a Hugging Face folder (config.json, safetensors, tokenizer) or a GGUF file (the first one
// of a split). Errors name the file and the field, tensor or byte.
absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_CHECKPOINT_H_
