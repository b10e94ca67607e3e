#ifndef BITBUDGET_RUNTIME_TRAINING_LOSSES_H_
#define BITBUDGET_RUNTIME_TRAINING_LOSSES_H_

#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "runtime/quantize/matrix.h"
#include "runtime/training/model_gradient.h"

namespace bitbudget {

// Losses of logits. All are means over the rows that they count, in nats per token (the code of
// both distillation papers sums over a sequence instead, with weights to match).

// What comes next at every row of sequences that follow each other: the token of the row after it;
// -1, which does not count, at the last row of a sequence.
std::vector<int32_t> NextTokens(std::span<const std::vector<int32_t>> sequences);

// -log p(label), of rows with a label that is not negative.
template <typename T>
class CrossEntropy final : public LogitLoss<T> {
 public:
  explicit CrossEntropy(std::vector<int32_t> labels);
  double Apply(int64_t first, Matrix<T>* logits) override;

 private:
  std::vector<int32_t> labels_;
  double counted_ = 0;
};

// kl_weight * KL(reference || model) + (1 - kl_weight) * -log p(label): distillation from a
// reference, whose logits of rows [first, first + count) a function gives (Oh! We Freeze,
// arXiv 2403.18159, and with kl_weight 1 the logit loss of OneBit, arXiv 2402.11295, equation 8).
// The mean is over all rows for the first term and over labelled rows for the second.
template <typename T>
class Distillation final : public LogitLoss<T> {
 public:
  using Reference = std::function<Matrix<T>(int64_t first, int64_t count)>;
  Distillation(Reference reference, std::vector<int32_t> labels, double kl_weight);
  double Apply(int64_t first, Matrix<T>* logits) override;

 private:
  Reference reference_;
  std::vector<int32_t> labels_;
  double kl_weight_;
  double labelled_ = 0;
};

// Sum over rows of -log p(label), with one label per row drawn from the model's own distribution:
// the gradients' second moments are then those of the Fisher information. Row r draws from random
// stream (seed, first_row + r).
template <typename T>
class SampledLabels final : public LogitLoss<T> {
 public:
  SampledLabels(uint64_t seed, uint64_t first_row) : seed_(seed), first_row_(first_row) {}
  double Apply(int64_t first, Matrix<T>* logits) override;

 private:
  uint64_t seed_;
  uint64_t first_row_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_LOSSES_H_
