#ifndef BITBUDGET_PLANS_TARGETS_PATTERNS_H_
#define BITBUDGET_PLANS_TARGETS_PATTERNS_H_

#include <string>

#include "absl/strings/string_view.h"

namespace bitbudget::internal {

// As Python's fnmatch.fnmatchcase: '*', '?', '[abc]', '[!a-z]', everything else itself.
bool FnMatch(absl::string_view pattern, absl::string_view name);

// The text with a backslash before every character that is special in any of the dialects
// (runtime/base/regex.h) in which consumers match names.
std::string EscapeRegex(absl::string_view text);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_PATTERNS_H_
