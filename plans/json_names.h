#ifndef BITBUDGET_PLANS_JSON_NAMES_H_
#define BITBUDGET_PLANS_JSON_NAMES_H_

#include <string>

#include "absl/strings/string_view.h"

namespace bitbudget {

// The text of a JSON plan with keys of earlier versions renamed: "block" to "layer" and
// "zero_permille" to "sparsity_permille". Everything but these keys is copied, so text that is not
// JSON stays what it was and the parser reports it.
std::string WithCurrentFieldNames(absl::string_view json);

// What `show --json` puts beside a plan's fields, for programs that do not want to know them all.
// It says nothing that the fields do not, so it is ignored where a plan is read.
inline constexpr char kSummaryKey[] = "summary";

// The text of a JSON plan without it, likewise.
std::string WithoutSummary(absl::string_view json);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_JSON_NAMES_H_
