#include "runtime/base/regex.h"

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/base/regex_program.h"
#include "runtime/base/utf8.h"

namespace bitbudget {
namespace {

// Real ones have less than a thousand bytes.
constexpr size_t kMaxPatternBytes = 4'000;
constexpr size_t kMaxShown = 80;  // bytes of a pattern that a message shows

// The pattern as it was written, but on one line and cut when it is long.
std::string Shown(absl::string_view pattern) {
  const bool cut = pattern.size() > kMaxShown;
  std::string shown;
  for (const char c : ReplaceInvalidUtf8(pattern.substr(0, kMaxShown))) {
    if (absl::ascii_iscntrl(c)) {
      absl::StrAppendFormat(&shown, "\\x%02x", static_cast<unsigned char>(c));
    } else {
      shown += c;
    }
  }
  return absl::StrCat("'", shown, cut ? "...'" : "'");
}

absl::Status NotARegex(absl::string_view pattern, absl::string_view reason) {
  return absl::InvalidArgumentError(
      absl::StrCat(Shown(pattern), " is not a regular expression: ", reason));
}

absl::Status GaveUp(RegexMatcher::Result result,
                    const std::string& pattern,
                    absl::string_view text) {
  const bool steps = result == RegexMatcher::Result::kTooManySteps;
  return absl::InvalidArgumentError(
      absl::StrCat("the pattern ",
                   Shown(pattern),
                   steps ? " takes too many steps" : " takes too much memory",
                   " on a text of ",
                   text.size(),
                   " bytes; write it without nested or repeated repetitions"));
}

}  // namespace

absl::StatusOr<Regex> Regex::Compile(absl::string_view pattern, RegexDialect dialect) {
  if (pattern.size() > kMaxPatternBytes) {
    return NotARegex(
        pattern,
        absl::StrCat("it has ", pattern.size(), " bytes, at most ", kMaxPatternBytes, " are read"));
  }
  absl::StatusOr<RegexProgram> program = RegexProgram::Compile(pattern, dialect);
  if (!program.ok()) return NotARegex(pattern, program.status().message());
  Regex regex;
  regex.pattern_ = std::string(pattern);
  regex.program_ = std::make_shared<const RegexProgram>(*std::move(program));
  return regex;
}

int64_t Regex::StepsFor(absl::string_view text) { return RegexSteps(text.size()); }

absl::StatusOr<bool> Regex::Matches(absl::string_view text, Where where) const {
  int64_t steps = StepsFor(text);
  RegexMatcher matcher(*program_, text, &steps);
  const RegexMatcher::Result result =
      where == Where::kAnywhere ? matcher.Find(0) : matcher.MatchAt(0, where == Where::kWhole);
  if (result == RegexMatcher::Result::kMatch) return true;
  if (result == RegexMatcher::Result::kNoMatch) return false;
  return GaveUp(result, pattern_, text);
}

absl::Status Regex::FindAll(absl::string_view text,
                            int64_t* steps,
                            std::vector<Match>* matches) const {
  // Places at which no match can begin are passed over without a step of the matcher.
  *steps -= 1 + static_cast<int64_t>(text.size());
  if (*steps < 0) return GaveUp(RegexMatcher::Result::kTooManySteps, pattern_, text);
  RegexMatcher matcher(*program_, text, steps);
  size_t from = 0;
  while (from <= text.size()) {
    const RegexMatcher::Result result = matcher.Find(from);
    if (result == RegexMatcher::Result::kNoMatch) break;
    if (result != RegexMatcher::Result::kMatch) return GaveUp(result, pattern_, text);
    matches->push_back({matcher.begin(), matcher.end()});
    from = matcher.end();
    if (matcher.begin() == matcher.end()) {  // go on behind the next character
      from += from < text.size() ? Utf8Length(text[from]) : 1;
    }
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
