#include "runtime/training/hidden_loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

Matrix<double> Values(uint64_t seed) {
  const std::vector<float> values = GaussianValues(3 * 7, 1, seed);
  return Eigen::Map<const Matrix<float>>(values.data(), 3, 7).cast<double>();
}

TEST(AddHiddenLoss, IsTheDistanceOfDirectionsAndItsGradientIsAdded) {
  Matrix<double> x = Values(1);
  const Matrix<double> wanted = Values(2);
  const auto loss = [&] {
    Matrix<double> unused = Matrix<double>::Zero(3, 7);
    return AddHiddenLoss(x, wanted, 0.3, &unused);
  };
  double expected = 0;
  for (int row = 0; row < 3; ++row) {
    const double cosine = x.row(row).normalized().dot(wanted.row(row).normalized());
    expected += 0.3 / 3 * (2 - 2 * cosine);
  }
  EXPECT_NEAR(loss(), expected, 1e-12);
  Matrix<double> gradient = Matrix<double>::Ones(3, 7);
  AddHiddenLoss(x, wanted, 0.3, &gradient);
  for (int64_t i = 0; i < x.size(); ++i) {
    constexpr double kStep = 1e-6;
    const double kept = x.data()[i];
    x.data()[i] = kept + kStep;
    const double above = loss();
    x.data()[i] = kept - kStep;
    const double below = loss();
    x.data()[i] = kept;
    EXPECT_NEAR(gradient.data()[i] - 1, (above - below) / (2 * kStep), 1e-8) << i;
  }
}

TEST(AddHiddenLoss, RowsOfZerosCountAsNothing) {
  Matrix<double> gradient = Matrix<double>::Zero(3, 7);
  EXPECT_EQ(AddHiddenLoss<double>(Matrix<double>::Zero(3, 7), Values(2), 1, &gradient), 0);
  EXPECT_EQ(gradient, (Matrix<double>::Zero(3, 7)));
}

}  // namespace
}  // namespace bitbudget
