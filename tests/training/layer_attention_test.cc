#include "runtime/training/layer_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

// Longer than what attends together, as long, and shorter.
const std::vector<int64_t> kLengths = {150, 1, 64, 65};
constexpr int64_t kRows = 280;

struct Case {
  std::string name;
  int64_t window;
  double soft_cap;
};

class LayerAttentionTest : public testing::TestWithParam<Case> {
 protected:
  LayerAttentionTest() {
    ModelConfig config;
    config.num_hidden_layers = 1;
    config.num_attention_heads = 4;
    config.num_key_value_heads = 2;
    config.head_dim = 6;
    config.attention_scale = 0.5;
    shape_ = AttentionShape(config, 0);
    shape_.window = GetParam().window;
    shape_.soft_cap = GetParam().soft_cap;
  }

  static Matrix<double> Values(int64_t cols, uint64_t seed) {
    const std::vector<float> values = GaussianValues(kRows * cols, 1.0, seed);
    return Eigen::Map<const Matrix<float>>(values.data(), kRows, cols).cast<double>();
  }

  // Position by position, as attention is defined.
  Matrix<double> Defined() const {
    Matrix<double> result(kRows, q_.cols());
    int64_t first = 0;
    for (const int64_t length : kLengths) {
      for (int64_t i = 0; i < length; ++i) {
        for (int64_t head = 0; head < shape_.heads; ++head) {
          const int64_t kv = head / 2 * shape_.head_dim;
          double sum = 0;
          RowVector<double> context = RowVector<double>::Zero(shape_.head_dim);
          for (int64_t j = 0; j <= i; ++j) {
            if (shape_.window > 0 && j + shape_.window <= i) continue;
            double score = shape_.scale * q_.row(first + i)
                                              .segment(head * shape_.head_dim, shape_.head_dim)
                                              .dot(k_.row(first + j).segment(kv, shape_.head_dim));
            if (shape_.soft_cap > 0) score = shape_.soft_cap * std::tanh(score / shape_.soft_cap);
            sum += std::exp(score);
            context += std::exp(score) * v_.row(first + j).segment(kv, shape_.head_dim);
          }
          result.row(first + i).segment(head * shape_.head_dim, shape_.head_dim) = context / sum;
        }
      }
      first += length;
    }
    return result;
  }

  AttentionShape shape_ = AttentionShape({}, 0);
  Matrix<double> q_ = Values(24, 1);
  Matrix<double> k_ = Values(12, 2);
  Matrix<double> v_ = Values(12, 3);
};

TEST_P(LayerAttentionTest, LongSequencesAttendAsDefined) {
  const Matrix<double> result = AttentionForward<double>(shape_, kLengths, {q_, k_, v_}, 2);
  EXPECT_LT((result - Defined()).cwiseAbs().maxCoeff(), 1e-12);
}

TEST_P(LayerAttentionTest, GradientsOfLongSequencesAgreeWithDifferences) {
  const Matrix<double> mixture = Values(24, 4);
  const auto gradient = AttentionBackward<double>(shape_, kLengths, {q_, k_, v_}, mixture, 2);
  const auto expect = [&](Matrix<double>* values, const Matrix<double>& by_values, int seed) {
    const Matrix<double> direction = Values(values->cols(), seed);
    const Matrix<double> kept = *values;
    constexpr double kStep = 1e-5;
    *values = kept + kStep * direction;
    const double above = Defined().cwiseProduct(mixture).sum();
    *values = kept - kStep * direction;
    const double below = Defined().cwiseProduct(mixture).sum();
    *values = kept;
    const double expected = (above - below) / (2 * kStep);
    EXPECT_NEAR(by_values.cwiseProduct(direction).sum(), expected, 1e-6 * std::abs(expected));
  };
  expect(&q_, gradient.q, 5);
  expect(&k_, gradient.k, 6);
  expect(&v_, gradient.v, 7);
}

INSTANTIATE_TEST_SUITE_P(Shapes,
                         LayerAttentionTest,
                         testing::Values(Case{"whole", 0, 0},
                                         Case{"window", 40, 0},
                                         Case{"wide_window", 100, 0},
                                         Case{"capped", 0, 1.5},
                                         Case{"capped_window", 7, 1.5}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace bitbudget
