#ifndef BITBUDGET_RUNTIME_BASE_JSON_H_
#define BITBUDGET_RUNTIME_BASE_JSON_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace bitbudget {

// Reads JSON that a stranger wrote. Never throws. On top of the grammar it refuses what programs
// read differently or what could exhaust the machine: an object with duplicate keys, nesting deeper
// than 32 levels, more than 10 million values. Errors are kInvalidArgument, one line that names
// `where` (the file) and what is wrong, for bad grammar with the byte in `text`.
absl::StatusOr<nlohmann::json> ParseJson(absl::string_view text, const std::string& where);

// The same reader for documents whose objects keep their order.
enum class DuplicateKeys : uint8_t {
  kRefuse,
  kLastWins,  // in the first one's place, as Python's json and the consumers written in it do
};
absl::StatusOr<nlohmann::ordered_json> ParseOrderedJson(absl::string_view text,
                                                        const std::string& where,
                                                        DuplicateKeys duplicates);

// For messages: a string from a file in double quotes, and a JSON value; control characters are
// escaped and long ones cut, so that a message stays one readable line.
std::string Quoted(absl::string_view text);
std::string ValueText(const nlohmann::json& value);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_JSON_H_
