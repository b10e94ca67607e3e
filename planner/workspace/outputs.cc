#include "planner/workspace/outputs.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace bitbudget {
namespace {

namespace fs = std::filesystem;

// What a path leads to, whatever it is called.
struct Identity {
  dev_t device;
  ino_t inode;
  friend bool operator==(const Identity&, const Identity&) = default;
};

bool Identify(const fs::path& path, Identity* identity) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return false;
  *identity = {status.st_dev, status.st_ino};
  return true;
}

// Whether a file of a model folder is part of the model. Anything else there, such as a plan, may
// be replaced.
bool IsModelFile(const std::string& name) {
  for (const char* suffix :
       {".safetensors", ".safetensors.index.json", ".bin", ".model", ".gguf"}) {
    if (absl::EndsWith(name, suffix)) return true;
  }
  for (const char* exact : {"config.json",
                            "generation_config.json",
                            "added_tokens.json",
                            "special_tokens_map.json",
                            "vocab.json",
                            "merges.txt"}) {
    if (name == exact) return true;
  }
  return absl::StartsWith(name, "tokenizer");
}

// The position of "-of-00003.gguf" in "stem-00001-of-00003.gguf"; npos for other names.
size_t SplitSuffix(const std::string& name) {
  constexpr size_t kSuffix = sizeof("-of-00003.gguf") - 1;
  constexpr size_t kNumber = sizeof("-00001") - 1;
  if (name.size() <= kSuffix + kNumber) return std::string::npos;
  const size_t at = name.size() - kSuffix;
  const auto digits = [&](size_t from) {
    return std::all_of(name.begin() + from, name.begin() + from + 5, [](unsigned char c) {
      return std::isdigit(c) != 0;
    });
  };
  const bool split = name.compare(at, 4, "-of-") == 0 && absl::EndsWith(name, ".gguf") &&
                     digits(at + 4) && name[at - kNumber] == '-' && digits(at - 5);
  return split ? at : std::string::npos;
}

// Whether two files belong to one split GGUF model.
bool SameSplit(const std::string& a, const std::string& b) {
  const size_t at = SplitSuffix(a);
  return at != std::string::npos && a.size() == b.size() && SplitSuffix(b) == at &&
         a.compare(at, std::string::npos, b, at, std::string::npos) == 0 &&
         a.compare(0, at - 5, b, 0, at - 5) == 0;
}

// The files that `path` stands for, itself included.
std::vector<fs::path> FilesOf(const fs::path& path) {
  std::vector<fs::path> files = {path};
  std::error_code error;
  const bool folder = fs::is_directory(path, error);
  const std::string name = path.filename().string();
  if (!folder && SplitSuffix(name) == std::string::npos) return files;
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  for (fs::directory_iterator entry(folder ? path : parent, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string other = entry->path().filename().string();
    if (folder ? IsModelFile(other) : SameSplit(name, other)) files.push_back(entry->path());
  }
  return files;
}

// Whether `file` lies in the folder, at any depth.
bool LiesIn(const fs::path& file, const Identity& folder) {
  std::error_code error;
  fs::path at = fs::canonical(file, error);
  if (error) return false;
  while (at.has_relative_path()) {
    at = at.parent_path();
    Identity identity;
    if (Identify(at, &identity) && identity == folder) return true;
  }
  return false;
}

absl::Status Refuse(const OutputPath& output, const fs::path& read) {
  return absl::InvalidArgumentError(absl::StrCat(output.option,
                                                 " ",
                                                 output.path,
                                                 " would replace ",
                                                 read.string(),
                                                 ", which this command reads; name another path"));
}

absl::Status CheckOutput(const OutputPath& output, std::span<const std::string> reads) {
  Identity target;
  if (!Identify(output.path, &target)) return absl::OkStatus();  // nothing is there yet
  for (const std::string& read : reads) {
    if (read.empty()) continue;
    for (const fs::path& file : FilesOf(read)) {
      Identity identity;
      if (!Identify(file, &identity)) continue;
      const bool holds = output.kind == OutputPath::Kind::kNewFolder && LiesIn(file, target);
      if (identity == target || holds) return Refuse(output, file);
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckOutputs(std::span<const OutputPath> writes, std::span<const std::string> reads) {
  for (size_t i = 0; i < writes.size(); ++i) {
    if (absl::Status status = CheckOutput(writes[i], reads); !status.ok()) return status;
    for (size_t j = 0; j < i; ++j) {
      std::error_code error;
      if (fs::weakly_canonical(writes[i].path, error) !=
              fs::weakly_canonical(writes[j].path, error) ||
          error) {
        continue;
      }
      return absl::InvalidArgumentError(absl::StrCat(writes[i].option,
                                                     " ",
                                                     writes[i].path,
                                                     " is also where ",
                                                     writes[j].option,
                                                     " ",
                                                     writes[j].path,
                                                     " is written; name another path"));
    }
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
