#ifndef BITBUDGET_RUNTIME_BASE_REGEX_CLASS_H_
#define BITBUDGET_RUNTIME_BASE_REGEX_CLASS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/char_set.h"
#include "runtime/base/regex.h"

namespace bitbudget {

absl::Status RegexRefused(absl::string_view what, size_t at);
// Why a group that goes on like this behind "(?" is none of a dialect.
const char* WhyNoRegexGroup(absl::string_view prefix);

// Reads the parts of a pattern that stand for one character, as its dialect has them
// (regex_syntax.h), spells them for PCRE2 and keeps the sets that they are.
class RegexClasses {
 public:
  // REQUIRES: well-formed UTF-8.
  RegexClasses(absl::string_view pattern, RegexDialect dialect)
      : pattern_(pattern), dialect_(dialect) {}

  // Each reads what begins at `at` and moves it behind that.
  absl::StatusOr<uint32_t> ReadCharacter(size_t* at) const;
  struct Escaped {
    uint32_t code = 0;
    std::string set = "";  // for PCRE2, where it stands for several characters
  };
  absl::StatusOr<Escaped> ReadEscape(bool in_class, size_t* at) const;
  // "[...]", for PCRE2.
  absl::StatusOr<std::string> ReadClass(size_t* at) const;

  // A character for PCRE2, in a class or outside.
  static std::string Spelled(uint32_t code);

  // The index of a set; equal ones are kept once. `at`: for the message.
  absl::StatusOr<int> AddSet(const std::string& part, CharSet::Options options, size_t at);
  int AddCharacter(uint32_t code);
  std::vector<CharSet> TakeSets() { return std::move(sets_); }

 private:
  bool tokenizer() const { return dialect_ == RegexDialect::kTokenizer; }
  bool ecma() const { return dialect_ == RegexDialect::kEcmaScript; }
  absl::StatusOr<uint32_t> ReadHex(size_t begin, size_t* at) const;
  absl::StatusOr<std::string> ReadProperty(size_t begin, size_t* at) const;
  absl::StatusOr<Escaped> ReadMember(size_t* at) const;
  absl::StatusOr<std::string> ReadNamedClass(size_t* at) const;

  const absl::string_view pattern_;
  const RegexDialect dialect_;
  std::vector<CharSet> sets_;
  absl::flat_hash_map<std::string, int> known_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_REGEX_CLASS_H_
