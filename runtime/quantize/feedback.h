#ifndef BITBUDGET_RUNTIME_QUANTIZE_FEEDBACK_H_
#define BITBUDGET_RUNTIME_QUANTIZE_FEEDBACK_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/kernels/panels.h"
#include "runtime/quantize/input_stats.h"

namespace bitbudget {

// A Gram matrix as encoders use it: what carries no energy is made to count a little.
struct DampedGram {
  Gram gram;           // H + damping I
  double damping = 0;  // what was added to the diagonal

  std::span<const float> Row(int64_t i) const { return gram.Row(i); }
  float Diagonal(int64_t i) const { return gram.values[i * gram.size + i]; }
};

// How the error of one input's weights is made up for by the inputs that are encoded after it
// (GPTQ, arXiv 2210.17323), in the form of Babai's nearest plane (arXiv 2507.18553): with
// H = R R^T, R upper triangular in the order of encoding, a row of errors d has the output error
//
//   d H d^T = sum over j of costs[j] t_j^2,   t_j = d_j + sum over i < j of d_i S_ij,
//   costs[j] = R_jj^2,   S_ij = R_ij / R_jj,
//
// so that input j is best encoded as the nearest level to w_j + sum over i < j of d_i S_ij. That is
// GPTQ's update, found without an inverse: R^-1 is the Cholesky factor of H^-1 that GPTQ works
// with.
class Feedback {
 public:
  // Columns whose feedback on each other is given input by input; the others' comes as a product.
  static constexpr int64_t kBlock = 256;

  int64_t size() const { return static_cast<int64_t>(costs_.size()); }
  // The input that is encoded at position p.
  std::span<const int64_t> order() const { return order_; }
  std::span<const float> costs() const { return costs_; }  // by position
  double damping() const { return damping_; }

  // S_ij for the positions j in [begin, begin + width) of the block of i, width = kBlock or what is
  // left of the size; zeros for j <= i.
  std::span<const float> InBlock(int64_t i) const {
    return std::span(diagonal_).subspan(i * kBlock, kBlock);
  }
  // S_ij for the positions j of block b, as the outputs of a product over all i ahead of it.
  const WeightPanels& AheadOf(int64_t b) const { return ahead_[b]; }

  // The sum above for rows of errors d[rows][size], by position, in double: one per row.
  void OutputErrors(std::span<const float> errors, std::span<double> out) const;

 private:
  friend std::unique_ptr<Feedback> MakeFeedback(const DampedGram& gram, std::vector<int64_t> order);

  std::vector<int64_t> order_;
  std::vector<float> costs_;
  std::vector<float> diagonal_;
  std::vector<WeightPanels> ahead_;
  double damping_ = 0;
};

// The Gram matrix with 1 % of its mean diagonal (GPTQ's choice) added, or as many times ten more as
// its factorisation takes; of a matrix without any energy the unit matrix. Columns of a matrix that
// was measured on fewer tokens than inputs depend on each other, inputs may never have been seen:
// damping keeps their weights near where rounding puts them. REQUIRES: finite values.
DampedGram Damp(const Gram& gram);

// The feedback for inputs that are encoded in this order, factorised in double. Null where the
// factorisation fails, which it does not after Damp() up to rounding. Deterministic.
std::unique_ptr<Feedback> MakeFeedback(const DampedGram& gram, std::vector<int64_t> order);

// 0, 1, ...; and the inputs of the largest diagonal first, equal ones in their order.
std::vector<int64_t> NaturalOrder(int64_t size);
std::vector<int64_t> ActivationOrder(const DampedGram& gram);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_FEEDBACK_H_
