#include "runtime/model/tokenizer.h"

#include <filesystem>
#include <system_error>

namespace bitbudget {

// Byte-level BPE (tokenizer.json) joins here.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& folder) {
  const std::string path = folder + "/tokenizer.model";
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::symlink_status(path, error);
  if (!std::filesystem::exists(status)) return nullptr;
  return OpenSentencePiece(path);
}

}  // namespace bitbudget
