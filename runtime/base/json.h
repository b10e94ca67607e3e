#ifndef BITBUDGET_RUNTIME_BASE_JSON_H_
#define BITBUDGET_RUNTIME_BASE_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace bitbudget {

// Reads JSON that a stranger wrote. Never throws; on top of the grammar it refuses what would be
// read differently by different programs or could exhaust the machine: a key that stands twice in
// one object, nesting deeper than 32, more than 10 million values. Errors are kInvalidArgument,
// one line that names `where` (the file) and what is wrong, for bad grammar with the byte in
// `text`.
absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, const std::string& where);

// For messages: a string from a file in double quotes, and a JSON value; control characters are
// escaped and long ones cut, so that a message stays one readable line.
std::string Quoted(absl::string_view text);
std::string ValueText(const nlohmann::json& value);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_JSON_H_
