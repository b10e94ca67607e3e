#ifndef BITBUDGET_RUNTIME_BASE_REGEX_H_
#define BITBUDGET_RUNTIME_BASE_REGEX_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace bitbudget {

class RegexProgram;

// Whose rules a pattern follows. A construct that the dialect does not have, or that no consumer
// needs and that can take for ever, is refused; runtime/base/regex_syntax.h lists them.
enum class RegexDialect : uint8_t {
  // As Hugging Face's tokenizers read the expressions of tokenizer.json: UTF-8, \s is Unicode's
  // White_Space, \w and \d are Unicode's, ^ and $ are the ends of lines.
  kTokenizer,
  // As Python's `re` (and `regex`, and GPTQModel's `pcre`) reads a pattern for names in ASCII.
  kPython,
  // As C++'s regular expressions read a pattern for names in ASCII: llama.cpp, ik_llama.cpp, our
  // own options.
  kEcmaScript,
};

// A pattern, compiled once. Patterns come from files and users that nobody vouches for: long ones
// are refused, and matching gives up with an error after a number of steps that grows with the
// bytes of the text alone. Safe to use from many threads.
class Regex {
 public:
  // Errors: kInvalidArgument, one line that names the pattern and what is wrong.
  static absl::StatusOr<Regex> Compile(absl::string_view pattern, RegexDialect dialect);

  const std::string& pattern() const { return pattern_; }

  enum class Where : uint8_t { kAnywhere, kAtStart, kWhole };
  // Whether the pattern matches anywhere in `text`, at its start, or all of it. REQUIRES:
  // well-formed UTF-8 for kTokenizer. Errors: kInvalidArgument, naming the pattern, when the match
  // takes too many steps.
  absl::StatusOr<bool> Matches(absl::string_view text, Where where) const;

  // The steps that all expressions together may take for a text.
  static int64_t StepsFor(absl::string_view text);

  struct Match {
    size_t begin;
    size_t end;
  };
  // Appends all matches from left to right that do not overlap; they may be empty. Takes what it
  // needs from `steps`. Requirements and errors as for Matches().
  absl::Status FindAll(absl::string_view text, int64_t* steps, std::vector<Match>* matches) const;

 private:
  Regex() = default;

  std::string pattern_;
  std::shared_ptr<const RegexProgram> program_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_REGEX_H_
