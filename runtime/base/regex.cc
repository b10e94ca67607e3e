#include "runtime/base/regex.h"

#include <glog/logging.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "runtime/base/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace bitbudget {
namespace {

// Backtracking steps of one match. Expressions of real tokenizers take a few for each character, a
// run of 10 MB of one kind of character included.
constexpr uint32_t kMaxSteps = 50'000'000;
constexpr uint32_t kMaxHeapKiB = 256 * 1024;
constexpr size_t kJitStackBytes = 1024 * 1024;

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

// PCRE2's \s holds U+180E, which has not been White_Space since Unicode 6.3. So \s is spelled out.
std::string SpellOutWhitespace(absl::string_view expression) {
  constexpr absl::string_view kItems =
      "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"
      "\\x{205f}"
      "\\x{3000}";
  std::string result;
  bool in_class = false;
  bool quoted = false;  // between \Q and \E
  for (size_t i = 0; i < expression.size(); ++i) {
    const absl::string_view pair = expression.substr(i, 2);
    if (quoted) {
      quoted = pair != "\\E";
      result += expression[i];
      continue;
    }
    if (expression[i] == '\\' && pair.size() == 2) {
      quoted = pair == "\\Q";
      if (pair == "\\s") {
        absl::StrAppend(&result, in_class ? "" : "[", kItems, in_class ? "" : "]");
      } else if (pair == "\\S" && !in_class) {
        absl::StrAppend(&result, "[^", kItems, "]");
      } else {
        absl::StrAppend(&result, pair);
      }
      ++i;
      continue;
    }
    if (!in_class && expression[i] == '[') {
      in_class = true;
      // A bracket that stands first in a class is a member of it.
      result += '[';
      if (expression.substr(i + 1, 1) == "^") result += expression[++i];
      if (expression.substr(i + 1, 1) == "]") result += expression[++i];
      continue;
    }
    if (in_class && expression[i] == ']') in_class = false;
    result += expression[i];
  }
  return result;
}

}  // namespace

void Regex::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

absl::StatusOr<Regex> Regex::Compile(absl::string_view expression) {
  if (expression.find("&&") != absl::string_view::npos) {
    return absl::InvalidArgumentError("intersections of classes (&&) are not supported");
  }
  const std::string spelled = SpellOutWhitespace(ReplaceInvalidUtf8(expression));
  const CompileContext context(pcre2_compile_context_create(nullptr));
  CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  Regex regex(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(spelled.data()),
                            spelled.size(),
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                            &error,
                            &offset,
                            context.get()));
  if (regex.code_ == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(Reason(error), " (at byte ", offset, ")"));
  }
  // Where it cannot compile to machine code, the interpreter does the same.
  pcre2_jit_compile(regex.code_.get(), PCRE2_JIT_COMPLETE);
  return regex;
}

absl::Status Regex::FindAll(absl::string_view text, std::vector<Match>* matches) const {
  const MatchData data(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  const MatchContext context(pcre2_match_context_create(nullptr));
  const JitStack stack(pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr));
  CHECK(data != nullptr && context != nullptr);
  pcre2_set_match_limit(context.get(), kMaxSteps);
  pcre2_set_heap_limit(context.get(), kMaxHeapKiB);
  if (stack != nullptr) pcre2_jit_stack_assign(context.get(), nullptr, stack.get());

  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.empty() ? "" : text.data());
  size_t from = 0;
  while (from <= text.size()) {
    int found = pcre2_match(
        code_.get(), subject, text.size(), from, PCRE2_NO_UTF_CHECK, data.get(), context.get());
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      found = pcre2_match(code_.get(),
                          subject,
                          text.size(),
                          from,
                          PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                          data.get(),
                          context.get());
    }
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) return absl::InvalidArgumentError(Reason(found));
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(data.get());
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
