#ifndef BITBUDGET_RUNTIME_QUANTIZE_FEEDBACK_H_
#define BITBUDGET_RUNTIME_QUANTIZE_FEEDBACK_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "runtime/kernels/panels.h"
#include "runtime/quantize/input_stats.h"

namespace bitbudget {

// A Gram matrix with what makes it positive definite: inputs without energy count a little.
struct DampedGram {
  Gram gram;           // H + damping I
  double damping = 0;  // what was added to the diagonal

  std::span<const float> Row(int64_t i) const { return gram.Row(i); }
  float Diagonal(int64_t i) const { return gram.values[i * gram.size + i]; }
};

// How the inputs that are encoded later make up for the error of an input's weights (GPTQ, arXiv
// 2210.17323), in the form of Babai's nearest plane (arXiv 2507.18553). H is the damped Gram
// matrix, GPTQ's Hessian up to a factor (input_stats.h). With H = R R^T, R upper triangular in the
// order of encoding, a row of errors d has the output error
//
//   d H d^T = sum over j of costs[j] t_j^2,   t_j = d_j + sum over i < j of d_i S_ij,
//   costs[j] = R_jj^2,   S_ij = R_ij / R_jj,
//
// so input j is best encoded as the level nearest to w_j + sum over i < j of d_i S_ij. That is
// GPTQ's update without its inverse: R^-1 is the Cholesky factor of H^-1 that GPTQ works with.
class Feedback {
 public:
  // GPTQ's lazy updates: feedback within a batch of so many columns is added input by input, that
  // of the batches before it as one product.
  static constexpr int64_t kColumnBatch = 256;

  int64_t size() const { return static_cast<int64_t>(costs_.size()); }
  // The input that is encoded at position p.
  std::span<const int64_t> order() const { return order_; }
  std::span<const float> costs() const { return costs_; }  // by position

  // S_ij for the positions j of the batch of i, kColumnBatch of them; 0 for j <= i and beyond the
  // last position.
  std::span<const float> InBatch(int64_t i) const {
    return std::span(diagonal_).subspan(i * kColumnBatch, kColumnBatch);
  }
  // S_ij for the positions j of a batch, as the outputs of a product over all i ahead of it.
  const WeightPanels& AheadOf(int64_t batch) const { return ahead_[batch]; }

  // d H d^T for rows of errors d[rows][size], by position, summed in double: one per row. (A pass
  // of feedback knows it of its own result: RunFeedback.)
  // Terms are never negative: where every row is above its `limits` already, if given, the sums end
  // there.
  void OutputErrors(std::span<const float> errors,
                    std::span<double> out,
                    std::span<const double> limits = {}) const;

 private:
  friend class FeedbackMaker;

  std::vector<int64_t> order_;
  std::vector<float> costs_;
  std::vector<float> diagonal_;
  std::vector<WeightPanels> within_;  // diagonal_ of a batch, as the outputs of a product
  std::vector<WeightPanels> ahead_;
};

// The Gram matrix with 1 % of its mean diagonal (GPTQ's choice) added, or ten times as much, and so
// on, until it can be factorised; for a matrix without energy the unit matrix. With fewer tokens
// than inputs the columns are dependent, and some inputs may never have been seen: damping keeps
// their weights near where rounding puts them. With `natural` also the feedback in natural order,
// whose factor this takes anyway. REQUIRES: finite values.
DampedGram Damp(const Gram& gram, std::unique_ptr<Feedback>* natural = nullptr);

// The feedback for inputs that are encoded in this order, factorised in double. Null where the
// factorisation fails, as only rounding can make it after Damp(). Deterministic.
std::unique_ptr<Feedback> MakeFeedback(const DampedGram& gram, std::vector<int64_t> order);

// 0, 1, ...; and by falling diagonal (GPTQ's "act-order"), equal ones in their order.
std::vector<int64_t> NaturalOrder(int64_t size);
std::vector<int64_t> ActivationOrder(const DampedGram& gram);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_FEEDBACK_H_
