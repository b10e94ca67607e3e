#include "plans/targets/patterns.h"

#include <cstddef>

namespace bitbudget::internal {

bool FnMatch(absl::string_view pattern, absl::string_view name) {
  size_t p = 0, n = 0;
  // Where to resume when what follows the last '*' does not match: it takes one more character.
  size_t star = absl::string_view::npos, star_name = 0;
  const auto one = [&](size_t* at) {  // matches one character, moves past its pattern
    const char c = name[n];
    if (pattern[*at] == '?') {
      ++*at;
      return true;
    }
    if (pattern[*at] == '[') {
      size_t end = *at + 1;
      const bool negated = end < pattern.size() && pattern[end] == '!';
      if (negated) ++end;
      const size_t begin = end;
      if (end < pattern.size() && pattern[end] == ']') ++end;  // a literal ']' comes first
      while (end < pattern.size() && pattern[end] != ']') ++end;
      if (end < pattern.size()) {
        bool in = false;
        for (size_t i = begin; i < end; ++i) {
          if (i + 2 < end && pattern[i + 1] == '-') {
            in = in || (pattern[i] <= c && c <= pattern[i + 2]);
            i += 2;
          } else {
            in = in || pattern[i] == c;
          }
        }
        *at = end + 1;
        return in != negated;
      }
    }
    return pattern[(*at)++] == c;
  };
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_name = n;
      continue;
    }
    size_t next = p;
    if (p < pattern.size() && one(&next)) {
      p = next;
      ++n;
      continue;
    }
    if (star == absl::string_view::npos) return false;
    p = star + 1;
    n = ++star_name;
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string EscapeRegex(absl::string_view text) {
  constexpr absl::string_view kSpecial = "\\^$.|?*+()[]{}";
  std::string escaped;
  for (const char c : text) {
    if (kSpecial.find(c) != absl::string_view::npos) escaped += '\\';
    escaped += c;
  }
  return escaped;
}

}  // namespace bitbudget::internal
