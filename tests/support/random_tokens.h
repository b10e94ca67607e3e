#ifndef BITBUDGET_TESTS_SUPPORT_RANDOM_TOKENS_H_
#define BITBUDGET_TESTS_SUPPORT_RANDOM_TOKENS_H_

#include <cstdint>
#include <vector>

#include "runtime/base/random.h"

namespace bitbudget {

// `count` token ids, each uniform in [0, vocab).
inline std::vector<int32_t> RandomTokens(int64_t count, int64_t vocab, uint64_t seed) {
  Random random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random.Below(vocab));
  return tokens;
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SUPPORT_RANDOM_TOKENS_H_
