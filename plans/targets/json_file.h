#ifndef BITBUDGET_PLANS_TARGETS_JSON_FILE_H_
#define BITBUDGET_PLANS_TARGETS_JSON_FILE_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace bitbudget::internal {

// Objects keep their order: for several consumers the first rule wins. Of equal keys the last value
// counts, as in Python.
using Json = nlohmann::ordered_json;

// Reads a JSON object. kInvalidArgument names `path` and what is wrong; nesting is limited.
absl::StatusOr<Json> ParseJsonObject(absl::string_view contents, const std::string& path);

// A field of an object, where it is there and of that type.
std::optional<int64_t> IntField(const Json& object, const char* key);
std::optional<bool> BoolField(const Json& object, const char* key);
std::optional<std::string> TextField(const Json& object, const char* key);
// An object; null where it is not there or something else.
const Json* ObjectField(const Json& object, const char* key);

// As text in a file: indented, with a newline at the end.
std::string JsonText(const Json& json);

// PATH without ".json" and with `ending` behind.
std::string PathBeside(const std::string& path, const std::string& ending);

// As a Python string literal.
std::string PythonQuote(const std::string& text);

// The last part of a path.
std::string FileName(const std::string& path);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_JSON_FILE_H_
