#include "runtime/model/architecture/checkpoint.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/read_file.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/gguf_checkpoint.h"
#include "runtime/model/architecture/text_ends.h"

namespace bitbudget {
namespace {

absl::StatusOr<Checkpoint> OpenFolder(const std::string& folder) {
  Checkpoint checkpoint;
  checkpoint.path = folder;
  checkpoint.config_path = folder + "/config.json";
  BB_ASSIGN_OR_RETURN(checkpoint.config_text, ReadFile(checkpoint.config_path, kMaxConfigBytes));
  BB_ASSIGN_OR_RETURN(checkpoint.config,
                      ParseConfig(checkpoint.config_text, checkpoint.config_path));
  BB_ASSIGN_OR_RETURN(SafetensorsArchive archive, SafetensorsArchive::Open(folder));
  checkpoint.tensors_path = std::move(archive.path);
  checkpoint.files = std::move(archive.files);
  checkpoint.tensors = std::move(archive.tensors);
  BB_ASSIGN_OR_RETURN(checkpoint.tokenizer, OpenTokenizer(folder));
  BB_RETURN_IF_ERROR(DecideEndTokens(folder, checkpoint.tokenizer.get(), &checkpoint.config));
  return checkpoint;
}

absl::StatusOr<Checkpoint> OpenAny(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return OpenFolder(path);
  if (absl::EndsWith(path, ".gguf")) return OpenGguf(path);
  return absl::NotFoundError(absl::StrCat(path, ": no such model folder or .gguf file"));
}

}  // namespace

absl::StatusOr<Checkpoint> OpenCheckpoint(const std::string& path) {
  BB_ASSIGN_OR_RETURN(Checkpoint checkpoint, OpenAny(path));
  DecideFirstToken(checkpoint.tokenizer.get(), &checkpoint.config);
  return checkpoint;
}

}  // namespace bitbudget
