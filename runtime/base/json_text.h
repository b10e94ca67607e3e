#ifndef BITBUDGET_RUNTIME_BASE_JSON_TEXT_H_
#define BITBUDGET_RUNTIME_BASE_JSON_TEXT_H_

#include <string>

#include "nlohmann/json.hpp"

namespace bitbudget {

// A document as text, on one line or, with an indent, on many. Never throws: of paths and names
// that are not UTF-8 every byte that does not belong becomes U+FFFD.
template <typename Json>
std::string DumpJson(const Json& json, int indent = -1, bool ensure_ascii = false) {
  return json.dump(indent, ' ', ensure_ascii, Json::error_handler_t::replace);
}

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_JSON_TEXT_H_
