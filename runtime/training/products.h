#ifndef BITBUDGET_RUNTIME_TRAINING_PRODUCTS_H_
#define BITBUDGET_RUNTIME_TRAINING_PRODUCTS_H_

#include <optional>

#include "runtime/kernels/panels.h"
#include "runtime/quantize/matrix.h"

namespace bitbudget {

// The three products of a linear layer y = x W^T in reverse mode. In float on the runtime's
// kernels, with the same bits for any number of threads and on every CPU; in double by Eigen, for
// checks.

// A weight matrix W [outputs, inputs], packed once for each product that it takes part in. Refers
// to the matrix, which must keep its values. Packs at the first use, so it is not thread-safe.
template <typename T>
class ProductWeights {
 public:
  explicit ProductWeights(const Matrix<T>& weights) : weights_(&weights) {}

  const Matrix<T>& matrix() const { return *weights_; }
  // y = x W^T
  Matrix<T> Forward(const Matrix<T>& x, int threads) const;
  // d_x = d_y W
  Matrix<T> Backward(const Matrix<T>& d_y, int threads) const;

 private:
  const Matrix<T>* weights_;
  mutable std::optional<WeightPanels> forward_;
  mutable std::optional<WeightPanels> backward_;
};

// a^T b for a[k, m] and b[k, n]: with a = d_y and b = x the gradient by W.
Matrix<float> TransposedTimes(const Matrix<float>& a, const Matrix<float>& b, int threads);
Matrix<double> TransposedTimes(const Matrix<double>& a, const Matrix<double>& b, int threads);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_PRODUCTS_H_
