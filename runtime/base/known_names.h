#ifndef BITBUDGET_RUNTIME_BASE_KNOWN_NAMES_H_
#define BITBUDGET_RUNTIME_BASE_KNOWN_NAMES_H_

#include <initializer_list>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace bitbudget {

// The first of the nearest names; empty when few edits lead to none: a third of the longer name may
// differ.
absl::string_view NearestName(absl::string_view name, std::span<const absl::string_view> known);

// The error for a name that is none of `known`, the same for every kind of name:
//
//   unknown encoder 'gptg'; did you mean 'gptq'? known are: rtn, clip, gptq
//
// kInvalidArgument. `what` is the kind ("encoder"). The nearest known name is suggested only when
// few edits lead to it; `known` is listed in its own order.
absl::Status UnknownName(absl::string_view what,
                         absl::string_view name,
                         std::span<const absl::string_view> known);
absl::Status UnknownName(absl::string_view what,
                         absl::string_view name,
                         std::span<const std::string> known);
absl::Status UnknownName(absl::string_view what,
                         absl::string_view name,
                         std::initializer_list<absl::string_view> known);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_KNOWN_NAMES_H_
