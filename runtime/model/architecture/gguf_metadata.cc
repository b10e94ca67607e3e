#include "runtime/model/architecture/gguf_metadata.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace bitbudget {

GgufMetadata::GgufMetadata(const GgufFile& file, std::string prefix)
    : file_(file), prefix_(std::move(prefix)) {}

std::string GgufMetadata::Key(absl::string_view name) const { return absl::StrCat(prefix_, name); }

absl::Status GgufMetadata::Invalid(absl::string_view name, absl::string_view what) const {
  return absl::InvalidArgumentError(
      absl::StrCat(file_.path, ": ", Key(name), ": ", Find(name)->Describe(), " ", what));
}

absl::Status GgufMetadata::Unsupported(absl::string_view name, absl::string_view what) const {
  return absl::UnimplementedError(
      absl::StrCat(file_.path, ": ", Key(name), ": ", Find(name)->Describe(), " ", what));
}

absl::Status GgufMetadata::Missing(absl::string_view name) const {
  return absl::InvalidArgumentError(absl::StrCat(file_.path, ": ", Key(name), ": is missing"));
}

absl::Status GgufMetadata::ReadInteger(absl::string_view name,
                                       int64_t low,
                                       int64_t high,
                                       int64_t* out) const {
  const GgufValue* value = Find(name);
  if (value == nullptr) return absl::OkStatus();
  std::optional<int64_t> number = value->Integer();
  if (const auto list = value->Integers(); list.has_value() && !list->empty()) {
    number = list->front();
    for (const int64_t item : *list) {
      if (item != *number) return Unsupported(name, "differs between layers");
    }
  }
  if (!number.has_value()) return Invalid(name, "is not an integer");
  if (*number < low || *number > high) {
    return Invalid(name, absl::StrCat("(", *number, ") is not between ", low, " and ", high));
  }
  *out = *number;
  return absl::OkStatus();
}

absl::Status GgufMetadata::RequireInteger(absl::string_view name,
                                          int64_t high,
                                          int64_t* out) const {
  if (Find(name) == nullptr) return Missing(name);
  return ReadInteger(name, 1, high, out);
}

absl::Status GgufMetadata::ReadNumber(absl::string_view name,
                                      double low,
                                      double high,
                                      double* out) const {
  const GgufValue* value = Find(name);
  if (value == nullptr) return absl::OkStatus();
  const std::optional<double> number = value->Number();
  if (!number.has_value()) return Invalid(name, "is not a number");
  if (!(*number >= low && *number <= high)) {
    return Invalid(name, absl::StrCat("is not between ", low, " and ", high));
  }
  *out = *number;
  return absl::OkStatus();
}

}  // namespace bitbudget
