#ifndef BITBUDGET_PLANS_TARGETS_JSON_FILE_H_
#define BITBUDGET_PLANS_TARGETS_JSON_FILE_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace bitbudget::internal {

// Objects keep their order: for several consumers the first rule wins.
using Json = nlohmann::ordered_json;

// Reads a JSON object with the bounds of runtime/base/json.h. Of duplicate keys the last one wins,
// as in Python. kInvalidArgument names `path` and what is wrong.
absl::StatusOr<Json> ParseJsonObject(absl::string_view contents, const std::string& path);

// A field of an object; empty where it is missing or of another type.
std::optional<int64_t> IntField(const Json& object, const char* key);
std::optional<bool> BoolField(const Json& object, const char* key);
std::optional<std::string> TextField(const Json& object, const char* key);
// A field that is an object; null where it is missing or something else.
const Json* ObjectField(const Json& object, const char* key);

// The text of a file: indented, with a newline at the end.
std::string JsonText(const Json& json);

// `path` with `ending` in place of ".json".
std::string PathBeside(const std::string& path, const std::string& ending);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_JSON_FILE_H_
