#ifndef BITBUDGET_TESTS_SUPPORT_GRAM_INPUTS_H_
#define BITBUDGET_TESTS_SUPPORT_GRAM_INPUTS_H_

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/quantize/input_stats.h"
#include "tests/support/matrices.h"

namespace bitbudget {

// The Gram matrix of `tokens` inputs of k values that depend on each other as those of models do: a
// few directions that all inputs share, noise of their own, and a few inputs much louder than the
// rest.
inline Gram CorrelatedGram(int64_t k, int64_t tokens, uint64_t seed) {
  constexpr int64_t kShared = 8;
  const std::vector<float> mixing = GaussianValues(kShared * k, 1.0, seed);
  const std::vector<float> loudness = HeavyTailedValues(k, 0.5, seed + 1);
  const std::vector<float> shared = GaussianValues(tokens * kShared, 1.0, seed + 2);
  const std::vector<float> own = GaussianValues(tokens * k, 0.5, seed + 3);
  std::vector<double> sums(k * k);
  std::vector<double> x(k);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < k; ++i) {
      x[i] = own[t * k + i];
      for (int64_t s = 0; s < kShared; ++s) x[i] += shared[t * kShared + s] * mixing[s * k + i];
      x[i] *= 0.2 + std::abs(loudness[i]);
    }
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < k; ++j) sums[i * k + j] += x[i] * x[j];
    }
  }
  Gram gram{k, std::vector<float>(k * k)};
  for (int64_t i = 0; i < k * k; ++i) {
    gram.values[i] = static_cast<float>(sums[i] / static_cast<double>(tokens));
  }
  return gram;
}

inline std::vector<float> DiagonalOf(const Gram& gram) {
  std::vector<float> diagonal(gram.size);
  for (int64_t i = 0; i < gram.size; ++i) diagonal[i] = gram.values[i * gram.size + i];
  return diagonal;
}

// d H d^T in double.
inline double GramError(std::span<const float> errors, const Gram& gram) {
  double sum = 0;
  for (int64_t i = 0; i < gram.size; ++i) {
    double product = 0;
    for (int64_t j = 0; j < gram.size; ++j) {
      product += static_cast<double>(gram.values[i * gram.size + j]) * errors[j];
    }
    sum += product * errors[i];
  }
  return sum;
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SUPPORT_GRAM_INPUTS_H_
