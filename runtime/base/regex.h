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

struct pcre2_real_code_8;

namespace bitbudget {

// Whose rules a pattern follows. A construct that PCRE2 would read differently, or that the dialect
// does not have, is refused rather than guessed at; runtime/base/regex_dialect.h lists them.
enum class RegexDialect : uint8_t {
  // As Hugging Face's tokenizers read the expressions of tokenizer.json: UTF-8, \s is Unicode's
  // White_Space, \w and \d are Unicode's, ^ and $ are the ends of lines.
  kTokenizer,
  // As Python's `re` (and `regex`, and GPTQModel's `pcre`) reads a pattern for names in ASCII.
  kPython,
  // As std::regex reads a pattern for names in ASCII: llama.cpp, ik_llama.cpp, our own options.
  kEcmaScript,
};

// A pattern, compiled once. Patterns come from files and users that nobody vouches for: long ones
// are refused, and matching gives up with an error after a bounded number of steps (under a second
// for names). Safe to use from many threads.
class Regex {
 public:
  // Errors: kInvalidArgument, one line that names the pattern and what is wrong.
  static absl::StatusOr<Regex> Compile(absl::string_view pattern, RegexDialect dialect);

  Regex(const Regex& other);
  Regex& operator=(const Regex& other);
  Regex(Regex&&) = default;
  Regex& operator=(Regex&&) = default;

  const std::string& pattern() const { return pattern_; }

  enum class Where : uint8_t { kAnywhere, kAtStart, kWhole };
  // Whether the pattern matches anywhere in `text`, at its start, or all of it. REQUIRES:
  // well-formed UTF-8 for kTokenizer. Errors: kInvalidArgument, naming the pattern, when the match
  // takes too many steps.
  absl::StatusOr<bool> Matches(absl::string_view text, Where where) const;

  struct Match {
    size_t begin;
    size_t end;
  };
  // Appends all matches from left to right that do not overlap; they may be empty. Requirements and
  // errors as for Matches().
  absl::Status FindAll(absl::string_view text, std::vector<Match>* matches) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  Regex() = default;

  std::string pattern_;
  RegexDialect dialect_ = RegexDialect::kTokenizer;
  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_REGEX_H_
