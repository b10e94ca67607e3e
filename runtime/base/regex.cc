#include "runtime/base/regex.h"

#include <glog/logging.h>

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "runtime/base/regex_dialect.h"
#include "runtime/base/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace bitbudget {
namespace {

struct Limits {
  size_t pattern_bytes;
  uint32_t steps;  // of one match, backtracking included
  uint32_t depth;  // of nested backtracking
  uint32_t heap_kib;
};

// Names have some 100 characters, rules for them take a few hundred steps.
constexpr Limits kNameLimits = {4000, 200'000, 20'000, 16 * 1024};
// Expressions of real tokenizers take a few steps for each character, a run of 10 MB of one kind of
// character included.
constexpr Limits kTextLimits = {100'000, 50'000'000, 50'000'000, 256 * 1024};

constexpr size_t kJitStackBytes = 1024 * 1024;
constexpr size_t kMaxShown = 80;  // bytes of a pattern that a message shows

const Limits& LimitsOf(RegexDialect dialect) {
  return dialect == RegexDialect::kTokenizer ? kTextLimits : kNameLimits;
}

template <typename T, void (*free)(T*)>
struct Deleter {
  void operator()(T* object) const { free(object); }
};
using MatchData =
    std::unique_ptr<pcre2_match_data, Deleter<pcre2_match_data, pcre2_match_data_free>>;
using MatchContext =
    std::unique_ptr<pcre2_match_context, Deleter<pcre2_match_context, pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Deleter<pcre2_jit_stack, pcre2_jit_stack_free>>;
using CompileContext = std::unique_ptr<pcre2_compile_context,
                                       Deleter<pcre2_compile_context, pcre2_compile_context_free>>;

std::string Reason(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

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

uint32_t CompileOptions(RegexDialect dialect) {
  // Without PCRE2's shortcuts the steps are those that a simple matcher takes.
  constexpr uint32_t kPlain =
      PCRE2_NO_AUTO_POSSESS | PCRE2_NO_START_OPTIMIZE | PCRE2_DOLLAR_ENDONLY;
  switch (dialect) {
    case RegexDialect::kTokenizer:
      return PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    case RegexDialect::kPython:
      return kPlain;
    case RegexDialect::kEcmaScript:
      return kPlain | PCRE2_ALLOW_EMPTY_CLASS;
  }
  LOG(FATAL) << "no dialect";
}

// One match after another of one pattern in one text.
class Matcher {
 public:
  Matcher(const pcre2_code* code, RegexDialect dialect, absl::string_view text)
      : code_(code),
        text_(text),
        flags_(dialect == RegexDialect::kTokenizer ? PCRE2_NO_UTF_CHECK : 0),
        data_(pcre2_match_data_create_from_pattern(code, nullptr)),
        context_(pcre2_match_context_create(nullptr)),
        stack_(pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr)) {
    CHECK(data_ != nullptr && context_ != nullptr);
    const Limits& limits = LimitsOf(dialect);
    pcre2_set_match_limit(context_.get(), limits.steps);
    pcre2_set_depth_limit(context_.get(), limits.depth);
    pcre2_set_heap_limit(context_.get(), limits.heap_kib);
    if (stack_ != nullptr) pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
  }

  // What pcre2_match() returns.
  int Match(size_t from, uint32_t flags) {
    const int found = Call(from, flags_ | flags);
    return found == PCRE2_ERROR_JIT_STACKLIMIT ? Call(from, flags_ | flags | PCRE2_NO_JIT) : found;
  }

  const PCRE2_SIZE* ends() const { return pcre2_get_ovector_pointer(data_.get()); }

 private:
  int Call(size_t from, uint32_t flags) {
    return pcre2_match(code_,
                       reinterpret_cast<PCRE2_SPTR>(text_.empty() ? "" : text_.data()),
                       text_.size(),
                       from,
                       flags,
                       data_.get(),
                       context_.get());
  }

  const pcre2_code* code_;
  const absl::string_view text_;
  const uint32_t flags_;
  const MatchData data_;
  const MatchContext context_;
  const JitStack stack_;
};

absl::Status MatchError(int code, const std::string& pattern, RegexDialect dialect) {
  if (code == PCRE2_ERROR_MATCHLIMIT || code == PCRE2_ERROR_DEPTHLIMIT ||
      code == PCRE2_ERROR_HEAPLIMIT) {
    return absl::InvalidArgumentError(absl::StrCat("the pattern ",
                                                   Shown(pattern),
                                                   " takes more than ",
                                                   LimitsOf(dialect).steps,
                                                   " steps; write it without nested repetitions"));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("the pattern ", Shown(pattern), " cannot be matched: ", Reason(code)));
}

}  // namespace

void Regex::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

absl::StatusOr<Regex> Regex::Compile(absl::string_view pattern, RegexDialect dialect) {
  if (const size_t most = LimitsOf(dialect).pattern_bytes; pattern.size() > most) {
    return NotARegex(
        pattern, absl::StrCat("it has ", pattern.size(), " bytes, at most ", most, " are read"));
  }
  const absl::StatusOr<std::string> translated = TranslateForPcre2(pattern, dialect);
  if (!translated.ok()) return NotARegex(pattern, translated.status().message());

  const CompileContext context(pcre2_compile_context_create(nullptr));
  CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  Regex regex;
  regex.pattern_ = std::string(pattern);
  regex.dialect_ = dialect;
  regex.code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated->data()),
                                  translated->size(),
                                  CompileOptions(dialect),
                                  &error,
                                  &offset,
                                  context.get()));
  if (regex.code_ == nullptr) {
    return NotARegex(pattern, absl::StrCat(Reason(error), " (at byte ", offset, ")"));
  }
  // Texts are long, names are short. Where it cannot compile to machine code, the interpreter does
  // the same.
  if (dialect == RegexDialect::kTokenizer) {
    pcre2_jit_compile(regex.code_.get(), PCRE2_JIT_COMPLETE);
  }
  return regex;
}

Regex::Regex(const Regex& other)
    : pattern_(other.pattern_),
      dialect_(other.dialect_),
      code_(pcre2_code_copy(other.code_.get())) {
  CHECK(code_ != nullptr);
  if (dialect_ == RegexDialect::kTokenizer) pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
}

Regex& Regex::operator=(const Regex& other) {
  if (this != &other) *this = Regex(other);
  return *this;
}

absl::StatusOr<bool> Regex::Matches(absl::string_view text, Where where) const {
  uint32_t flags = 0;
  if (where != Where::kAnywhere) flags |= PCRE2_ANCHORED;
  if (where == Where::kWhole) flags |= PCRE2_ENDANCHORED;
  const int found = Matcher(code_.get(), dialect_, text).Match(0, flags);
  if (found >= 0) return true;
  if (found == PCRE2_ERROR_NOMATCH) return false;
  return MatchError(found, pattern_, dialect_);
}

absl::Status Regex::FindAll(absl::string_view text, std::vector<Match>* matches) const {
  Matcher matcher(code_.get(), dialect_, text);
  size_t from = 0;
  while (from <= text.size()) {
    const int found = matcher.Match(from, 0);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) return MatchError(found, pattern_, dialect_);
    const PCRE2_SIZE* ends = matcher.ends();
    const Match match{std::max<size_t>(ends[0], from), std::max<size_t>(ends[1], from)};
    matches->push_back(match);
    from = match.end;
    if (match.begin == match.end) {  // go on behind the next character
      from += from < text.size() ? Utf8Length(text[from]) : 1;
    }
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
