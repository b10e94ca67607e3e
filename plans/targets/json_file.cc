#include "plans/targets/json_file.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "runtime/base/json.h"
#include "runtime/base/json_text.h"
#include "runtime/base/status_macros.h"

namespace bitbudget::internal {
absl::StatusOr<Json> ParseJsonObject(absl::string_view contents, const std::string& path) {
  BB_ASSIGN_OR_RETURN(Json json, ParseOrderedJson(contents, path, DuplicateKeys::kLastWins));
  if (!json.is_object()) return absl::InvalidArgumentError(absl::StrCat(path, ": no JSON object"));
  return json;
}

std::optional<int64_t> IntField(const Json& object, const char* key) {
  const auto field = object.find(key);
  if (field == object.end() || !field->is_number_integer()) return std::nullopt;
  if (field->is_number_unsigned() && field->get<uint64_t>() > uint64_t{INT64_MAX}) {
    return std::nullopt;
  }
  return field->get<int64_t>();
}

std::optional<bool> BoolField(const Json& object, const char* key) {
  const auto field = object.find(key);
  if (field == object.end() || !field->is_boolean()) return std::nullopt;
  return field->get<bool>();
}

std::optional<std::string> TextField(const Json& object, const char* key) {
  const auto field = object.find(key);
  if (field == object.end() || !field->is_string()) return std::nullopt;
  return field->get<std::string>();
}

const Json* ObjectField(const Json& object, const char* key) {
  const auto field = object.find(key);
  return field != object.end() && field->is_object() ? &*field : nullptr;
}

std::string JsonText(const Json& json) { return DumpJson(json, 1) + "\n"; }

std::string PathBeside(const std::string& path, const std::string& ending) {
  return absl::StrCat(absl::StripSuffix(path, ".json"), ending);
}

}  // namespace bitbudget::internal
