#ifndef BITBUDGET_RUNTIME_MODEL_CHECKPOINT_GGUF_FILES_H_
#define BITBUDGET_RUNTIME_MODEL_CHECKPOINT_GGUF_FILES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/mapped_file.h"
#include "runtime/model/checkpoint/gguf.h"

namespace bitbudget {

// All files of a split, or a single file: mapped and parsed, in order. `parsed` points into
// `files`.
struct GgufFiles {
  std::vector<MappedFile> files;
  std::vector<GgufFile> parsed;
};

// Opens a GGUF file and, when it is the first of a split ("-00001-of-00003.gguf"), the others
// beside it. Errors name file and key: those of ParseGguf(), a file that is not the first of its
// split, parts that do not belong together.
absl::StatusOr<GgufFiles> OpenGgufFiles(const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_CHECKPOINT_GGUF_FILES_H_
