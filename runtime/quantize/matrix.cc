#include "runtime/quantize/matrix.h"

#include <glog/logging.h>

#include "runtime/kernels/linear.h"
#include "runtime/kernels/panels.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

Matrix<float> TimesTransposed(const Matrix<float>& a, const Matrix<float>& b, int threads) {
  CHECK_EQ(a.cols(), b.cols());
  Matrix<float> y(a.rows(), b.rows());
  if (y.size() == 0) return y;
  const int64_t k = a.cols();
  PackedActivations packed;
  PackActivations(Path::kF32, a.data(), k, a.rows(), k, &packed);
  const WeightPanels panels =
      PackWeightsF32(ViewOf({b.data(), static_cast<size_t>(b.size())}, b.rows(), k));
  Linear(packed, panels, y.data(), y.cols(), threads);
  return y;
}

Matrix<double> TimesTransposed(const Matrix<double>& a, const Matrix<double>& b, int /*threads*/) {
  CHECK_EQ(a.cols(), b.cols());
  return a * b.transpose();
}

}  // namespace bitbudget
