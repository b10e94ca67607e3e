#ifndef BITBUDGET_TESTS_SUPPORT_FORMATS_H_
#define BITBUDGET_TESTS_SUPPORT_FORMATS_H_

#include <cstdint>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// The supported formats that can store rows of k inputs.
inline std::vector<Format> FormatsFor(int64_t k) {
  std::vector<Format> formats;
  for (const Format& format : SupportedFormats()) {
    if (Fits(format, k)) formats.push_back(format);
  }
  return formats;
}

// Any of them, but mostly one of at least four bits, so that a model of many
// matrices keeps some of its sense.
inline Format RandomFormatFor(int64_t k, Random* random) {
  const std::vector<Format> formats = FormatsFor(k);
  const int least = random->Below(16) == 0 ? 0 : 4;
  for (;;) {
    const Format& format = formats[random->Below(formats.size())];
    if (format.bits >= least) return format;
  }
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SUPPORT_FORMATS_H_
