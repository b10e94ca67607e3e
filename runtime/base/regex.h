#ifndef BITBUDGET_RUNTIME_BASE_REGEX_H_
#define BITBUDGET_RUNTIME_BASE_REGEX_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

struct pcre2_real_code_8;

namespace bitbudget {

// A PCRE2 expression over Unicode, read as Hugging Face's tokenizers do: \s is White_Space, ^ and $
// are the ends of lines. Immutable, safe to use from many threads.
class Regex {
 public:
  struct Match {
    size_t begin;
    size_t end;
  };

  // Errors: kInvalidArgument with the reason and where in the expression, without its source.
  static absl::StatusOr<Regex> Compile(absl::string_view expression);

  // Appends all matches from left to right that do not overlap; they may be empty. REQUIRES:
  // well-formed UTF-8. Errors: kInvalidArgument when the expression takes too many steps on the
  // text.
  absl::Status FindAll(absl::string_view text, std::vector<Match>* matches) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  explicit Regex(pcre2_real_code_8* code) : code_(code) {}

  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_REGEX_H_
