#include "runtime/base/known_names.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace bitbudget {
namespace {

constexpr size_t kMaxShown = 80;  // bytes of the unknown name that the message shows

// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`; letters that
// differ in case only are equal. (Optimal string alignment.)
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  const auto equal = [&](size_t i, size_t j) {
    return absl::ascii_tolower(a[i]) == absl::ascii_tolower(b[j]);
  };
  for (size_t i = 1; i <= a.size(); ++i) {
    before.swap(last);
    last.swap(row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (equal(i - 1, j - 1) ? 0 : 1)});
      if (i > 1 && j > 1 && equal(i - 1, j - 2) && equal(i - 2, j - 1)) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
  }
  return row[b.size()];
}

}  // namespace

absl::string_view NearestName(absl::string_view name, std::span<const absl::string_view> known) {
  absl::string_view nearest;
  size_t least = 0;
  for (const absl::string_view candidate : known) {
    const size_t longer = std::max(name.size(), candidate.size());
    if (longer > kMaxShown) continue;
    const size_t distance = EditDistance(name, candidate);
    if (3 * distance > longer) continue;
    if (nearest.empty() || distance < least) {
      nearest = candidate;
      least = distance;
    }
  }
  return nearest;
}

absl::Status UnknownName(absl::string_view what,
                         absl::string_view name,
                         std::span<const absl::string_view> known) {
  const absl::string_view nearest = NearestName(name, known);
  const bool cut = name.size() > kMaxShown;
  return absl::InvalidArgumentError(
      absl::StrCat("unknown ",
                   what,
                   " '",
                   absl::CHexEscape(name.substr(0, kMaxShown)),
                   cut ? "...'; " : "'; ",
                   nearest.empty() ? "" : absl::StrCat("did you mean '", nearest, "'? "),
                   "known are: ",
                   absl::StrJoin(known, ", ")));
}

absl::Status UnknownName(absl::string_view what,
                         absl::string_view name,
                         std::span<const std::string> known) {
  const std::vector<absl::string_view> views(known.begin(), known.end());
  return UnknownName(what, name, std::span<const absl::string_view>(views));
}

absl::Status UnknownName(absl::string_view what,
                         absl::string_view name,
                         std::initializer_list<absl::string_view> known) {
  return UnknownName(what, name, std::span<const absl::string_view>(known.begin(), known.size()));
}

}  // namespace bitbudget
