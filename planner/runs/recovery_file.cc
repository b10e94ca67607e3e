#include "planner/runs/recovery_file.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <span>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/sha256.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

using Values = std::map<std::string, std::string>;

constexpr absl::string_view kFirstLine = "bitbudget recovery state 1\n";
constexpr size_t kHashSize = 64;

void AppendText(absl::string_view text, std::string* out) {
  const uint64_t size = text.size();
  out->append(reinterpret_cast<const char*>(&size), sizeof(size));
  absl::StrAppend(out, text);
}

std::optional<std::string> TakeText(absl::string_view* bytes) {
  uint64_t size = 0;
  if (bytes->size() < sizeof(size)) return std::nullopt;
  std::memcpy(&size, bytes->data(), sizeof(size));
  bytes->remove_prefix(sizeof(size));
  if (size > bytes->size()) return std::nullopt;
  std::string text(bytes->substr(0, size));
  bytes->remove_prefix(size);
  return text;
}

std::string HashOf(absl::string_view text) {
  Sha256 hash;
  hash.Update(text);
  return hash.Finish();
}

// The values of a body; nothing for one that is damaged.
std::optional<Values> ParseBody(absl::string_view body) {
  Values values;
  while (!body.empty()) {
    std::optional<std::string> name = TakeText(&body);
    std::optional<std::string> value = TakeText(&body);
    if (!name.has_value() || !value.has_value()) return std::nullopt;
    values[*std::move(name)] = *std::move(value);
  }
  return values;
}

absl::string_view TextOf(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// The parts of a file that starts with the first line.
struct Parts {
  absl::string_view key, hash, body;
};
Parts Split(absl::string_view text) {
  text.remove_prefix(kFirstLine.size());
  const absl::string_view rest = text.substr(std::min(text.size(), kHashSize));
  return {text.substr(0, kHashSize),
          rest.substr(0, kHashSize),
          rest.substr(std::min(rest.size(), kHashSize))};
}

// The values of a whole file; nothing for one that is damaged.
std::optional<Values> ParseState(const Parts& parts) {
  if (parts.hash != HashOf(parts.body)) return std::nullopt;
  return ParseBody(parts.body);
}

}  // namespace

std::string RecoveryFile::PathFor(const std::string& plan_path) {
  return absl::StrCat(plan_path, ".recovering");
}

absl::StatusOr<std::unique_ptr<RecoveryFile>> RecoveryFile::Open(const std::string& path,
                                                                 const std::string& key,
                                                                 Progress* progress) {
  std::unique_ptr<RecoveryFile> state(new RecoveryFile(path, key));
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return state;
  BB_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  if (!absl::StartsWith(TextOf(file), kFirstLine)) {
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": not the state of a recovery, which would be kept there; move the file away"));
  }
  const Parts parts = Split(TextOf(file));
  if (parts.key != key) {
    progress->Message(absl::StrCat(path, " is of another recovery; starting anew"));
  } else if (!ParseState(parts).has_value()) {
    progress->Message(absl::StrCat(path, " is damaged; starting anew"));
  } else {
    state->kept_ = true;
    progress->Message(absl::StrCat("resuming from ", path));
  }
  return state;
}

absl::Status RecoveryFile::Save(const Values& state) {
  std::string body;
  for (const auto& [name, value] : state) {
    AppendText(name, &body);
    AppendText(value, &body);
  }
  BB_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path_));
  BB_RETURN_IF_ERROR(file.Write(absl::StrCat(kFirstLine, key_, HashOf(body))));
  BB_RETURN_IF_ERROR(file.Write(body));
  BB_RETURN_IF_ERROR(file.Commit());
  kept_ = true;
  return absl::OkStatus();
}

absl::StatusOr<Values> RecoveryFile::Load() {
  if (!kept_) return Values();
  BB_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path_));
  std::optional<Values> values;
  if (absl::StartsWith(TextOf(file), kFirstLine)) values = ParseState(Split(TextOf(file)));
  if (!values.has_value()) {
    return absl::DataLossError(absl::StrCat(path_, ": changed while it was in use"));
  }
  return *std::move(values);
}

absl::Status RecoveryFile::Remove() {
  kept_ = false;
  std::error_code error;
  std::filesystem::remove(path_, error);
  if (!error) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(path_, ": cannot remove: ", error.message()));
}

}  // namespace bitbudget
