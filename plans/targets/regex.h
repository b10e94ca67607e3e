#ifndef BITBUDGET_PLANS_TARGETS_REGEX_H_
#define BITBUDGET_PLANS_TARGETS_REGEX_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <regex>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// The dialects in which consumers match names. Patterns come from files that anybody may have
// written: long ones and those that would take exponential time are refused.
namespace bitbudget::internal {

// As Python's `re` (and `regex`, and GPTQModel's `pcre`) reads a pattern.
class PythonRegex {
 public:
  // kInvalidArgument names the pattern.
  static absl::StatusOr<PythonRegex> Compile(const std::string& pattern);

  enum class Mode : uint8_t { kSearch, kMatch, kFullMatch };
  // kInvalidArgument when the match takes more steps than any rule for names should.
  absl::StatusOr<bool> Matches(absl::string_view name, Mode mode) const;

 private:
  struct Free {
    void operator()(void* code) const;
  };
  std::string pattern_;
  std::unique_ptr<void, Free> code_;
};

// As std::regex (ECMAScript) with regex_search reads a pattern: llama.cpp and ik_llama.cpp.
class EcmaRegex {
 public:
  static absl::StatusOr<EcmaRegex> Compile(const std::string& pattern);
  absl::StatusOr<bool> Search(const std::string& name) const;

 private:
  std::regex regex_;
  // libstdc++ cannot be told to give up; where PCRE would take too many steps, it is not asked.
  std::optional<PythonRegex> guard_;
};

// As Python's fnmatch.fnmatchcase: '*', '?', '[abc]', '[!a-z]', everything else itself.
bool FnMatch(absl::string_view pattern, absl::string_view name);

// The text with a backslash before every character that is special in any of the dialects.
std::string EscapeRegex(absl::string_view text);

}  // namespace bitbudget::internal

#endif  // BITBUDGET_PLANS_TARGETS_REGEX_H_
