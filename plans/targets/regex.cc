#include "plans/targets/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace bitbudget::internal {
namespace {

// std::regex and PCRE2 recurse once per nested group; far longer patterns would exhaust the stack.
constexpr size_t kMaxPatternChars = 4000;
// A rule for names of at most some 100 characters takes a few hundred steps.
constexpr uint32_t kMaxSteps = 200000;

absl::Status CheckLength(const std::string& pattern) {
  if (pattern.size() <= kMaxPatternChars) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the pattern '",
                                                 pattern.substr(0, 40),
                                                 "...' has ",
                                                 pattern.size(),
                                                 " characters, at most ",
                                                 kMaxPatternChars,
                                                 " are read"));
}

absl::Status TooSlow(const std::string& pattern, absl::string_view name) {
  return absl::InvalidArgumentError(absl::StrCat("the pattern '",
                                                 absl::CHexEscape(pattern),
                                                 "' takes more than ",
                                                 kMaxSteps,
                                                 " steps on ",
                                                 name,
                                                 "; write it without nested repetitions"));
}

}  // namespace

void PythonRegex::Free::operator()(void* code) const {
  pcre2_code_free(static_cast<pcre2_code*>(code));
}

absl::StatusOr<PythonRegex> PythonRegex::Compile(const std::string& pattern) {
  BB_RETURN_IF_ERROR(CheckLength(pattern));
  int error = 0;
  PCRE2_SIZE offset = 0;
  PythonRegex regex;
  regex.pattern_ = pattern;
  // Without PCRE's own shortcuts the steps are those that a simple matcher takes.
  regex.code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()),
                                  pattern.size(),
                                  PCRE2_NO_AUTO_POSSESS | PCRE2_NO_START_OPTIMIZE,
                                  &error,
                                  &offset,
                                  nullptr));
  if (regex.code_ != nullptr) return regex;
  PCRE2_UCHAR message[256];
  pcre2_get_error_message(error, message, sizeof(message));
  return absl::InvalidArgumentError(absl::StrCat("'",
                                                 absl::CHexEscape(pattern),
                                                 "' is not a regular expression: ",
                                                 reinterpret_cast<const char*>(message),
                                                 " at character ",
                                                 offset));
}

absl::StatusOr<bool> PythonRegex::Matches(absl::string_view name, Mode mode) const {
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  uint32_t options = 0;
  if (mode != Mode::kSearch) options |= PCRE2_ANCHORED;
  if (mode == Mode::kFullMatch) options |= PCRE2_ENDANCHORED;
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(context, kMaxSteps);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  const int result = pcre2_match(
      code, reinterpret_cast<PCRE2_SPTR>(name.data()), name.size(), 0, options, data, context);
  pcre2_match_data_free(data);
  pcre2_match_context_free(context);
  if (result >= 0) return true;
  if (result == PCRE2_ERROR_NOMATCH) return false;
  return TooSlow(pattern_, name);
}

absl::StatusOr<EcmaRegex> EcmaRegex::Compile(const std::string& pattern) {
  BB_RETURN_IF_ERROR(CheckLength(pattern));
  EcmaRegex regex;
  try {
    regex.regex_ = std::regex(pattern);
  } catch (const std::regex_error& error) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", absl::CHexEscape(pattern), "' is not a regular expression: ", error.what()));
  }
  BB_ASSIGN_OR_RETURN(regex.guard_, PythonRegex::Compile(pattern));
  return regex;
}

absl::StatusOr<bool> EcmaRegex::Search(const std::string& name) const {
  BB_RETURN_IF_ERROR(guard_->Matches(name, PythonRegex::Mode::kSearch).status());
  return std::regex_search(name, regex_);
}

bool FnMatch(absl::string_view pattern, absl::string_view name) {
  size_t p = 0, n = 0;
  // Where to go on when what follows the last '*' does not match: it takes one character more.
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
