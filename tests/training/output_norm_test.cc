#include <gtest/gtest.h>

#include <vector>

#include "runtime/kernels/linear.h"
#include "runtime/quantize/encoders.h"
#include "runtime/tensor/tensor_view.h"
#include "runtime/training/products.h"
#include "runtime/training/row_functions.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

Matrix<float> Values(int64_t rows, int64_t cols, uint64_t seed) {
  const std::vector<float> values = GaussianValues(rows * cols, 1, seed);
  return Eigen::Map<const Matrix<float>>(values.data(), rows, cols);
}

TEST(NormOutputs, IsTheNormOfTheRuntimesProductsBitForBit) {
  constexpr int64_t kRows = 70;  // more than one thread's part
  const Matrix<float> x = Values(kRows, 96, 1);
  const Matrix<float> w = Values(50, 96, 2);
  const Encoding encoding = *(*MakeEncoder("rtn"))
                                 ->Encode(ViewOf({w.data(), static_cast<size_t>(w.size())}, 50, 96),
                                          *ParseFormat("onebit-ln"));
  Matrix<float> decoded(50, 96);
  DecodeReference(encoding, {decoded.data(), static_cast<size_t>(decoded.size())});
  PackedActivations packed;
  PackActivations(Path::kF32, x.data(), x.cols(), kRows, x.cols(), &packed);
  Matrix<float> wanted(kRows, 50);
  Linear(packed, PackWeightsF32(encoding), wanted.data(), wanted.cols());
  const Matrix<float> raw = ProductWeights<float>(decoded).Forward(x, 1);
  for (const int threads : {1, 3}) EXPECT_EQ(NormOutputs(raw, threads), wanted);
}

TEST(NormOutputs, ItsReverseAgreesWithDifferences) {
  Matrix<double> x = Values(3, 7, 3).cast<double>();
  x.row(2) *= 1e-3;  // next to the 1e-5 that is added to its variance
  const Matrix<double> d_y = Values(3, 7, 4).cast<double>();
  const Matrix<double> d_x = NormOutputsBackward(x, d_y, 1);
  for (int64_t i = 0; i < x.size(); ++i) {
    constexpr double kStep = 1e-6;
    const double kept = x.data()[i];
    const auto loss = [&](double value) {
      x.data()[i] = value;
      return NormOutputs(x, 1).cwiseProduct(d_y).sum();
    };
    const double above = loss(kept + kStep);
    const double below = loss(kept - kStep);
    x.data()[i] = kept;
    const double difference = (above - below) / (2 * kStep);
    EXPECT_NEAR(d_x.data()[i], difference, 1e-6 * (1 + std::abs(difference))) << i;
  }
}

}  // namespace
}  // namespace bitbudget
