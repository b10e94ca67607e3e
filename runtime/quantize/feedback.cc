#include "runtime/quantize/feedback.h"

#include <glog/logging.h>

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
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
  for (int64_t i = 0; i < k; ++i) {
    const std::span<const float> row = gram.Row(order[k - 1 - i]);
    for (int64_t j = 0; j <= i; ++j) (*factor)(i, j) = row[order[k - 1 - j]];
  }
  const Eigen::LLT<Eigen::Ref<Matrix>> llt(*factor);
  if (llt.info() != Eigen::Success) return false;
  return (factor->diagonal().array() > 0.0).all() && factor->diagonal().allFinite();
}

}  // namespace

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

DampedGram Damp(const Gram& gram) {
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
      if (FactorReversed(damped.gram, order, &factor)) return damped;
    }
  }
  // No energy, or no Gram matrix at all: all weights alike.
  std::fill(damped.gram.values.begin(), damped.gram.values.end(), 0.0f);
  damped.damping = mean > 0 ? mean : 1;
  for (int64_t i = 0; i < k; ++i) {
    damped.gram.values[i * k + i] = static_cast<float>(damped.damping);
  }
  return damped;
}

std::unique_ptr<Feedback> MakeFeedback(const DampedGram& gram, std::vector<int64_t> order) {
  const int64_t k = gram.gram.size;
  CHECK_EQ(static_cast<int64_t>(order.size()), k);
  Matrix factor;
  if (!FactorReversed(gram.gram, order, &factor)) return nullptr;
  // R_ij for i <= j.
  const auto upper = [&](int64_t i, int64_t j) { return factor(k - 1 - i, k - 1 - j); };

  auto feedback = std::make_unique<Feedback>();
  feedback->order_ = std::move(order);
  feedback->diagonal_.assign(k * Feedback::kColumnBatch, 0.0f);
  for (int64_t j = 0; j < k; ++j) {
    feedback->costs_.push_back(static_cast<float>(upper(j, j) * upper(j, j)));
  }
  for (int64_t begin = 0; begin < k; begin += Feedback::kColumnBatch) {
    const int64_t end = std::min(k, begin + Feedback::kColumnBatch);
    for (int64_t j = begin; j < end; ++j) {
      for (int64_t i = begin; i < j; ++i) {
        feedback->diagonal_[i * Feedback::kColumnBatch + j - begin] =
            static_cast<float>(upper(i, j) / upper(j, j));
      }
    }
    std::vector<float> rows((end - begin) * begin);
    for (int64_t j = begin; j < end; ++j) {
      for (int64_t i = 0; i < begin; ++i) {
        rows[(j - begin) * begin + i] = static_cast<float>(upper(i, j) / upper(j, j));
      }
    }
    feedback->ahead_.push_back(begin == 0 ? WeightPanels()
                                          : PackWeightsF32(ViewOf(rows, end - begin, begin)));
  }
  return feedback;
}

void Feedback::OutputErrors(std::span<const float> errors, std::span<double> out) const {
  const int64_t k = size();
  const int64_t rows = static_cast<int64_t>(out.size());
  CHECK_EQ(static_cast<int64_t>(errors.size()), rows * k);
  PackedActivations packed;
  AlignedBuffer<float> sums;
  sums.Resize(rows * kColumnBatch);
  std::fill(out.begin(), out.end(), 0.0);
  for (int64_t begin = 0; begin < k; begin += kColumnBatch) {
    const int64_t width = std::min(kColumnBatch, k - begin);
    std::fill(sums.data(), sums.data() + rows * kColumnBatch, 0.0f);
    if (begin > 0) {
      PackActivations(Path::kF32, errors.data(), k, rows, begin, &packed);
      Linear(packed, AheadOf(begin / kColumnBatch), sums.data(), kColumnBatch);
    }
    for (int64_t row = 0; row < rows; ++row) {
      const float* const d = errors.data() + row * k + begin;
      Eigen::Map<Eigen::ArrayXf> t(sums.data() + row * kColumnBatch, kColumnBatch);
      for (int64_t i = 0; i < width; ++i) {
        t += d[i] * Eigen::Map<const Eigen::ArrayXf>(InBatch(begin + i).data(), kColumnBatch);
      }
      for (int64_t j = 0; j < width; ++j) {
        const double value = static_cast<double>(t[j]) + d[j];
        out[row] += costs_[begin + j] * value * value;
      }
    }
  }
}

}  // namespace bitbudget
