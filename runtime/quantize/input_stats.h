#ifndef BITBUDGET_RUNTIME_QUANTIZE_INPUT_STATS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_INPUT_STATS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"

namespace bitbudget {

// The Gram matrix E[x x^T] of the inputs x[size] of a matrix, over the tokens of calibration text.
// The Hessian of GPTQ, H = 2 X X^T for inputs X [size, tokens], is the same up to the factor
// 2 * tokens, which changes no code: comments here call both H.
struct Gram {
  int64_t size = 0;
  std::vector<float> values;  // [size][size], symmetric

  std::span<const float> Row(int64_t i) const { return std::span(values).subspan(i * size, size); }
};

// Which weights sparse formats leave out: those of the smallest magnitude, of the smallest product
// with the norm of their input ("Wanda"), or whose loss costs the least divergence (pruning.h).
enum class Pruning : uint8_t { kMagnitude, kWanda, kFisher };

struct GramFactors;

// What is known of the inputs of a matrix [n, k], and how to prune by it. Views, not owned; empty
// or null: not known.
struct InputStats {
  std::span<const float> moments;  // E[x_j^2], k of them, in any unit
  const Gram* gram = nullptr;      // of size k
  Pruning pruning = Pruning::kMagnitude;
  // The diagonal of the Fisher information by the weights [n, k], in any unit.
  std::span<const float> fisher = {};
  // Those of `gram`, where the caller has them (gram_factors.h); encoders make them otherwise.
  const GramFactors* factors = nullptr;
};

// kInvalidArgument unless there are `cols` moments, all finite and not negative.
absl::Status CheckMoments(std::span<const float> moments, int64_t cols);

// kInvalidArgument unless the matrix is of `cols` inputs and finite.
absl::Status CheckGram(const Gram& gram, int64_t cols);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_INPUT_STATS_H_
