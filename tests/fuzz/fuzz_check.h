#ifndef BITBUDGET_TESTS_FUZZ_FUZZ_CHECK_H_
#define BITBUDGET_TESTS_FUZZ_FUZZ_CHECK_H_

#include <cstdlib>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace bitbudget {

inline void Require(bool condition) {
  if (!condition) abort();
}

// Whether it is an error, which has to be one readable line that names the file.
inline bool Refused(const absl::Status& status, absl::string_view file) {
  if (status.ok()) return false;
  const absl::string_view message = status.message();
  Require(message.find('\n') == absl::string_view::npos && message.size() <= 1000);
  Require(message.find(file) != absl::string_view::npos);
  return true;
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_FUZZ_FUZZ_CHECK_H_
