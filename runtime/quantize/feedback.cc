#include "runtime/quantize/feedback.h"

#include <glog/logging.h>

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <utility>

#include "runtime/base/aligned_buffer.h"
#include "runtime/kernels/linear.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {
namespace {

// GPTQ's damping, and how often ten times more is tried: with the mean diagonal itself added no
// matrix that is positive semidefinite up to float rounding fails.
constexpr double kDamping = 0.01;
constexpr int kRaises = 6;

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic>;

// The Cholesky factor L of H with its inputs in reverse order, in the lower triangle: reversing it
// again gives the upper triangular R with R R^T = H. False if there is none.
bool FactorReversed(const Gram& gram, std::span<const int64_t> order, Matrix* factor) {
  const int64_t k = gram.size;
  factor->resize(k, k);
  for (int64_t j = 0; j < k; ++j) {
    const std::span<const float> column = gram.Row(order[k - 1 - j]);
    for (int64_t i = j; i < k; ++i) (*factor)(i, j) = column[order[k - 1 - i]];
  }
  const Eigen::LLT<Eigen::Ref<Matrix>> llt(*factor);
  if (llt.info() != Eigen::Success) return false;
  return (factor->diagonal().array() > 0.0).all() && factor->diagonal().allFinite();
}

}  // namespace

class FeedbackMaker {
 public:
  // `factor`: of FactorReversed, for this order.
  static std::unique_ptr<Feedback> Make(const Matrix& factor, std::vector<int64_t> order) {
    constexpr int64_t kBatch = Feedback::kColumnBatch;
    const int64_t k = factor.rows();
    // R_ij for i <= j.
    const auto upper = [&](int64_t i, int64_t j) { return factor(k - 1 - i, k - 1 - j); };
    auto feedback = std::make_unique<Feedback>();
    feedback->order_ = std::move(order);
    feedback->diagonal_.assign(k * kBatch, 0.0f);
    for (int64_t j = 0; j < k; ++j) {
      feedback->costs_.push_back(static_cast<float>(upper(j, j) * upper(j, j)));
    }
    std::vector<float> rows;
    for (int64_t begin = 0; begin < k; begin += kBatch) {
      const int64_t width = std::min(kBatch, k - begin);
      std::vector<float> within(width * width);
      rows.resize(width * begin);
      for (int64_t j = begin; j < begin + width; ++j) {
        const auto coefficient = [&](int64_t i) {
          return static_cast<float>(upper(i, j) / upper(j, j));
        };
        for (int64_t i = 0; i < begin; ++i) rows[(j - begin) * begin + i] = coefficient(i);
        for (int64_t i = begin; i < j; ++i) {
          feedback->diagonal_[i * kBatch + j - begin] = coefficient(i);
          within[(j - begin) * width + i - begin] = coefficient(i);
        }
      }
      feedback->within_.push_back(PackWeightsF32(ViewOf(within, width, width)));
      feedback->ahead_.push_back(begin == 0 ? WeightPanels()
                                            : PackWeightsF32(ViewOf(rows, width, begin)));
    }
    return feedback;
  }
};

std::vector<int64_t> NaturalOrder(int64_t size) {
  std::vector<int64_t> order(size);
  std::iota(order.begin(), order.end(), int64_t{0});
  return order;
}

std::vector<int64_t> ActivationOrder(const DampedGram& gram) {
  std::vector<int64_t> order = NaturalOrder(gram.gram.size);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return gram.Diagonal(a) > gram.Diagonal(b);
  });
  return order;
}

DampedGram Damp(const Gram& gram, std::unique_ptr<Feedback>* natural) {
  const int64_t k = gram.size;
  double mean = 0;
  for (int64_t i = 0; i < k; ++i) {
    mean += gram.values[i * k + i] / static_cast<double>(std::max<int64_t>(k, 1));
  }
  DampedGram damped{gram, 0};
  Matrix factor;
  const std::vector<int64_t> order = NaturalOrder(k);
  if (mean > 0) {
    damped.damping = kDamping * mean;
    for (int raise = 0; raise < kRaises; ++raise, damped.damping *= 10) {
      for (int64_t i = 0; i < k; ++i) {
        damped.gram.values[i * k + i] = static_cast<float>(gram.values[i * k + i] + damped.damping);
      }
      if (!FactorReversed(damped.gram, order, &factor)) continue;
      if (natural != nullptr) *natural = FeedbackMaker::Make(factor, order);
      return damped;
    }
  }
  // No energy, or no Gram matrix at all: all weights alike.
  std::fill(damped.gram.values.begin(), damped.gram.values.end(), 0.0f);
  damped.damping = mean > 0 ? mean : 1;
  for (int64_t i = 0; i < k; ++i) {
    damped.gram.values[i * k + i] = static_cast<float>(damped.damping);
  }
  if (natural != nullptr) *natural = MakeFeedback(damped, order);
  return damped;
}

std::unique_ptr<Feedback> MakeFeedback(const DampedGram& gram, std::vector<int64_t> order) {
  CHECK_EQ(static_cast<int64_t>(order.size()), gram.gram.size);
  Matrix factor;
  if (!FactorReversed(gram.gram, order, &factor)) return nullptr;
  return FeedbackMaker::Make(factor, std::move(order));
}

void Feedback::OutputErrors(std::span<const float> errors,
                            std::span<double> out,
                            std::span<const double> limits) const {
  const int64_t k = size();
  const int64_t rows = static_cast<int64_t>(out.size());
  CHECK_EQ(static_cast<int64_t>(errors.size()), rows * k);
  PackedActivations packed;
  AlignedBuffer<float> before(rows * kColumnBatch);
  AlignedBuffer<float> within(rows * kColumnBatch);
  before.Fill(0.0f);
  std::fill(out.begin(), out.end(), 0.0);
  for (int64_t begin = 0; begin < k; begin += kColumnBatch) {
    const int64_t batch = begin / kColumnBatch;
    const int64_t width = std::min(kColumnBatch, k - begin);
    if (begin > 0) {
      PackActivations(Path::kF32, errors.data(), k, rows, begin, &packed);
      Linear(packed, ahead_[batch], before.data(), kColumnBatch);
    }
    PackActivations(Path::kF32, errors.data() + begin, k, rows, width, &packed);
    Linear(packed, within_[batch], within.data(), kColumnBatch);
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t j = 0; j < width; ++j) {
        const int64_t at = row * kColumnBatch + j;
        const double value = static_cast<double>(before.data()[at] + within.data()[at]) +
                             errors[row * k + begin + j];
        out[row] += costs_[begin + j] * value * value;
      }
    }
    if (!limits.empty() && std::ranges::equal(out, limits, std::ranges::greater())) return;
  }
}

}  // namespace bitbudget
