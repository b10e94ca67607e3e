// A regular expression and a text from strangers, in every dialect: a pattern is refused in one
// line or ends in time, its matches lie in the text and go forward, and they are those that PCRE2
// finds wherever PCRE2 reads the same pattern and finds anything within its limits.
//
// The input: t, p or e for the dialect, the pattern up to a line feed, the text.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "runtime/base/regex.h"
#include "runtime/base/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace {

using bitbudget::Regex;
using bitbudget::RegexDialect;

constexpr double kMaxSeconds = 5;  // some tenths, but for sanitizers and machines with other work

void Require(bool condition) {
  if (!condition) abort();
}

bool Refused(const absl::Status& status) {
  if (status.ok()) return false;
  const absl::string_view message = status.message();
  Require(message.find('\n') == absl::string_view::npos && message.size() <= 1000);
  return true;
}

// Whether PCRE2 means the same by everything that the dialect accepts in this pattern.
bool MeansTheSame(absl::string_view pattern, RegexDialect dialect) {
  if (dialect != RegexDialect::kTokenizer) return !absl::StrContains(pattern, "\\Z");
  const size_t first = pattern.find('[');
  const bool nested =
      first != absl::string_view::npos && absl::StrContains(pattern.substr(first + 1), "[");
  return !nested && !absl::StrContains(pattern, "\\s") && !absl::StrContains(pattern, "\\S");
}

// As Regex::FindAll; false where PCRE2 refuses the pattern or gives up.
bool FindAllWithPcre2(absl::string_view pattern,
                      RegexDialect dialect,
                      absl::string_view text,
                      std::vector<Regex::Match>* matches) {
  uint32_t flags = PCRE2_DOLLAR_ENDONLY;
  if (dialect == RegexDialect::kTokenizer) flags = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE;
  if (dialect == RegexDialect::kEcmaScript) flags |= PCRE2_ALLOW_EMPTY_CLASS;
  pcre2_compile_context* compile = pcre2_compile_context_create(nullptr);
  pcre2_set_newline(compile, PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()),
                                   pattern.size(),
                                   flags,
                                   &error,
                                   &offset,
                                   compile);
  pcre2_compile_context_free(compile);
  if (code == nullptr) return false;
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(context, 20'000);
  pcre2_set_heap_limit(context, 10'000);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  int found = 0;
  for (size_t from = 0; from <= text.size();) {
    found = pcre2_match(
        code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, 0, data, context);
    if (found < 0) break;
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data);
    matches->push_back({ends[0], ends[1]});
    from = ends[1];
    if (ends[0] == ends[1]) from += from < text.size() ? bitbudget::Utf8Length(text[from]) : 1;
  }
  pcre2_match_data_free(data);
  pcre2_match_context_free(context);
  pcre2_code_free(code);
  return found >= 0 || found == PCRE2_ERROR_NOMATCH;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  if (input.empty()) return 0;
  const RegexDialect dialect = input[0] == 't'   ? RegexDialect::kTokenizer
                               : input[0] == 'p' ? RegexDialect::kPython
                                                 : RegexDialect::kEcmaScript;
  const size_t end = std::min(input.find('\n'), input.size());
  const absl::string_view pattern = input.substr(1, end - 1);
  std::string text = bitbudget::ReplaceInvalidUtf8(input.substr(std::min(end + 1, input.size())));
  if (dialect != RegexDialect::kTokenizer) {
    for (char& c : text) c = static_cast<char>(c & 0x7f);
  }

  const std::clock_t start = std::clock();
  const auto regex = Regex::Compile(pattern, dialect);
  if (Refused(regex.status())) return 0;
  for (const auto where : {Regex::Where::kAnywhere, Regex::Where::kAtStart, Regex::Where::kWhole}) {
    Refused(regex->Matches(text, where).status());
  }
  std::vector<Regex::Match> matches;
  int64_t steps = Regex::StepsFor(text);
  const bool gave_up = Refused(regex->FindAll(text, &steps, &matches));
  Require(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC < kMaxSeconds);
  size_t from = 0;
  for (const Regex::Match& match : matches) {
    Require(from <= match.begin && match.begin <= match.end && match.end <= text.size());
    from = match.end;
  }

  std::vector<Regex::Match> others;
  if (gave_up || !MeansTheSame(pattern, dialect) ||
      !FindAllWithPcre2(bitbudget::ReplaceInvalidUtf8(pattern), dialect, text, &others)) {
    return 0;
  }
  Require(matches.size() == others.size());
  for (size_t i = 0; i < matches.size(); ++i) {
    Require(matches[i].begin == others[i].begin && matches[i].end == others[i].end);
  }
  return 0;
}
