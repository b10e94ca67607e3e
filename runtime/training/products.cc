#include "runtime/training/products.h"

#include <glog/logging.h>

#include "runtime/kernels/linear.h"
#include "runtime/kernels/transposed.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {
namespace {

Matrix<float> Multiply(const PackedActivations& x, const WeightPanels& panels, int threads) {
  Matrix<float> y(x.m, panels.n);
  if (y.size() > 0) Linear(x, panels, y.data(), y.cols(), threads);
  return y;
}

PackedActivations PackRows(const Matrix<float>& x) {
  PackedActivations packed;
  PackActivations(Path::kF32, x.data(), x.cols(), x.rows(), x.cols(), &packed);
  return packed;
}

}  // namespace

template <>
Matrix<float> ProductWeights<float>::Forward(const Matrix<float>& x, int threads) const {
  const Matrix<float>& w = *weights_;
  CHECK_EQ(x.cols(), w.cols());
  if (!forward_.has_value()) {
    forward_ =
        PackWeightsF32(ViewOf({w.data(), static_cast<size_t>(w.size())}, w.rows(), w.cols()));
  }
  return Multiply(PackRows(x), *forward_, threads);
}

template <>
Matrix<float> ProductWeights<float>::Backward(const Matrix<float>& d_y, int threads) const {
  const Matrix<float>& w = *weights_;
  CHECK_EQ(d_y.cols(), w.rows());
  if (!backward_.has_value()) {
    backward_ = PackWeightsTransposed(w.data(), w.cols(), w.cols(), w.rows());
  }
  return Multiply(PackRows(d_y), *backward_, threads);
}

template <>
Matrix<double> ProductWeights<double>::Forward(const Matrix<double>& x, int /*threads*/) const {
  return x * weights_->transpose();
}

template <>
Matrix<double> ProductWeights<double>::Backward(const Matrix<double>& d_y, int /*threads*/) const {
  return d_y * *weights_;
}

Matrix<float> TransposedTimes(const Matrix<float>& a, const Matrix<float>& b, int threads) {
  CHECK_EQ(a.rows(), b.rows());
  PackedActivations packed;
  PackActivationsTransposed(a.data(), a.cols(), a.cols(), a.rows(), &packed);
  return Multiply(packed, PackWeightsTransposed(b.data(), b.cols(), b.cols(), b.rows()), threads);
}

Matrix<double> TransposedTimes(const Matrix<double>& a, const Matrix<double>& b, int /*threads*/) {
  CHECK_EQ(a.rows(), b.rows());
  return a.transpose() * b;
}

}  // namespace bitbudget
