#ifndef BITBUDGET_SEARCH_MERIT_H_
#define BITBUDGET_SEARCH_MERIT_H_

#include <array>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/eval/metrics.h"

namespace bitbudget {

// What a method ranks candidates by where it follows the divergent token paper (arXiv 2311.01544).
//   kFdt: FDT75, the 75th percentile of the first divergent token over the probes. It saturates at
//     the length of the completions, where no candidate loses a token, and takes few values near 0,
//     so equal ones go by mean FDT, then SDT, then KL.
//   kDppl: divergent perplexity, on the reference's completions.
//   kPpl: perplexity, on natural text (SearchContext::text).
enum class MeritKind : uint8_t { kFdt, kDppl, kPpl };
const char* MeritKindName(MeritKind kind);  // "fdt", "dppl", "ppl"
absl::StatusOr<MeritKind> ParseMeritKind(absl::string_view name);

// Compared lexicographically, larger is better; never NaN. Every entry is a number that may be
// interpolated.
using Merit = std::array<double, 4>;
Merit MeritOf(MeritKind kind, const Evaluation& evaluation);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_MERIT_H_
