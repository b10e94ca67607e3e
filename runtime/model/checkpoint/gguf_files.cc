#include "runtime/model/checkpoint/gguf_files.h"

#include <cstdint>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

constexpr int64_t kMaxSplits = 99'999;  // what five digits can name

// A key of a split file, or `absent` when the file has no such key.
absl::StatusOr<int64_t> SplitNumber(const GgufFile& file, const char* key, int64_t absent) {
  const GgufValue* value = file.Find(key);
  if (value == nullptr) return absent;
  const std::optional<int64_t> number = value->Integer();
  if (!number.has_value() || *number < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(file.path, ": ", key, ": ", value->Describe(), " is not a count"));
  }
  return *number;
}

absl::Status AddFile(const std::string& path, GgufFiles* out) {
  BB_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  BB_ASSIGN_OR_RETURN(GgufFile parsed, ParseGguf(file.bytes(), path));
  out->files.push_back(std::move(file));
  out->parsed.push_back(std::move(parsed));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufFiles> OpenGgufFiles(const std::string& path) {
  GgufFiles files;
  BB_RETURN_IF_ERROR(AddFile(path, &files));
  BB_ASSIGN_OR_RETURN(const int64_t count, SplitNumber(files.parsed.front(), "split.count", 0));
  if (count <= 1) return files;
  BB_ASSIGN_OR_RETURN(const int64_t number, SplitNumber(files.parsed.front(), "split.no", 0));
  const std::string suffix = absl::StrFormat("-%05d-of-%05d.gguf", 1, count);
  if (number != 0 || count > kMaxSplits || !absl::EndsWith(path, suffix)) {
    return absl::InvalidArgumentError(
        absl::StrCat(path,
                     ": is file ",
                     number + 1,
                     " of ",
                     count,
                     "; give the first one, whose name ends in -00001-of-0000N.gguf"));
  }
  const std::string stem = path.substr(0, path.size() - suffix.size());
  int64_t tensors = static_cast<int64_t>(files.parsed.front().tensors.size());
  for (int64_t i = 1; i < count; ++i) {
    const std::string part = stem + absl::StrFormat("-%05d-of-%05d.gguf", i + 1, count);
    BB_RETURN_IF_ERROR(AddFile(part, &files));
    BB_ASSIGN_OR_RETURN(const int64_t part_number, SplitNumber(files.parsed.back(), "split.no", 0));
    BB_ASSIGN_OR_RETURN(const int64_t of, SplitNumber(files.parsed.back(), "split.count", 0));
    if (part_number != i || of != count) {
      return absl::InvalidArgumentError(
          absl::StrCat(part, ": split.no and split.count: say file ", part_number + 1, " of ", of));
    }
    tensors += static_cast<int64_t>(files.parsed.back().tensors.size());
  }
  BB_ASSIGN_OR_RETURN(const int64_t expected,
                      SplitNumber(files.parsed.front(), "split.tensors.count", tensors));
  if (tensors != expected) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": split.tensors.count: ", expected, ", but the files hold ", tensors, " tensors"));
  }
  return files;
}

}  // namespace bitbudget
