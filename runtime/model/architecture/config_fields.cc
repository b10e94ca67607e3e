#include "runtime/model/architecture/config_fields.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/json.h"

namespace bitbudget {

using nlohmann::json;

ConfigFields::ConfigFields(const json& object, const std::string& path, std::string prefix)
    : object_(object), path_(path), prefix_(std::move(prefix)) {}

const json* ConfigFields::Find(const char* key) const {
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

ConfigFields ConfigFields::Inside(const char* key) const {
  return ConfigFields(object_.at(key), path_, absl::StrCat(prefix_, key, "."));
}

std::string ConfigFields::Where(const char* key) const {
  const json* value = Find(key);
  return absl::StrCat(
      path_, ": ", prefix_, key, ": ", value == nullptr ? "null" : ValueText(*value), " ");
}

absl::Status ConfigFields::Invalid(const char* key, absl::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat(Where(key), what));
}

absl::Status ConfigFields::Unsupported(const char* key, absl::string_view what) const {
  return absl::UnimplementedError(absl::StrCat(Where(key), what));
}

absl::Status ConfigFields::Missing(const char* key) const {
  return absl::InvalidArgumentError(absl::StrCat(path_, ": ", prefix_, key, ": is missing"));
}

absl::Status ConfigFields::Unknown(const std::string& key, absl::string_view what) const {
  bool plain = key.size() <= 64;
  for (const char c : key) plain = plain && (absl::ascii_isalnum(c) || c == '_');
  return absl::UnimplementedError(absl::StrCat(path_,
                                               ": ",
                                               prefix_,
                                               plain ? key : Quoted(key),
                                               ": ",
                                               ValueText(object_.at(key)),
                                               " ",
                                               what));
}

absl::Status ConfigFields::ReadInteger(const char* key,
                                       int64_t low,
                                       int64_t high,
                                       int64_t* out) const {
  const json* value = Find(key);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_number_integer()) return Invalid(key, "is not an integer");
  // Values above 2^63 - 1 are stored as unsigned.
  const bool fits =
      value->is_number_unsigned()
          ? value->get<uint64_t>() <= static_cast<uint64_t>(high) && value->get<int64_t>() >= low
          : value->get<int64_t>() >= low && value->get<int64_t>() <= high;
  if (!fits) return Invalid(key, absl::StrCat("is not between ", low, " and ", high));
  *out = value->get<int64_t>();
  return absl::OkStatus();
}

absl::Status ConfigFields::ReadNumber(const char* key, double low, double high, double* out) const {
  const json* value = Find(key);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_number()) return Invalid(key, "is not a number");
  const double number = value->get<double>();
  if (!(number >= low && number <= high)) {
    return Invalid(key, absl::StrCat("is not between ", low, " and ", high));
  }
  *out = number;
  return absl::OkStatus();
}

absl::Status ConfigFields::ReadBool(const char* key, bool* out) const {
  const json* value = Find(key);
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_boolean()) return Invalid(key, "is not true or false");
  *out = value->get<bool>();
  return absl::OkStatus();
}

absl::Status ConfigFields::ReadTokenIds(const char* key,
                                        int64_t vocab_size,
                                        std::vector<int32_t>* ids) const {
  const json* value = Find(key);
  if (value == nullptr) return absl::OkStatus();
  const json list = value->is_array() ? *value : json::array({*value});
  for (const json& id : list) {
    if (!id.is_number_integer()) return Invalid(key, "is not a token id or a list of them");
    const bool in_range = id.is_number_unsigned()
                              ? id.get<uint64_t>() < static_cast<uint64_t>(vocab_size)
                              : id.get<int64_t>() >= 0 && id.get<int64_t>() < vocab_size;
    if (!in_range) {
      return Invalid(key, absl::StrCat("is outside the vocabulary of ", vocab_size));
    }
    ids->push_back(id.get<int32_t>());
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
