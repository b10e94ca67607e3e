#ifndef BITBUDGET_RUNTIME_TRAINING_HIDDEN_LOSS_H_
#define BITBUDGET_RUNTIME_TRAINING_HIDDEN_LOSS_H_

#include "runtime/quantize/matrix.h"

namespace bitbudget {

// weight * mean over rows of ||x / ||x|| - wanted / ||wanted|| ||^2, the distance of hidden states
// in OneBit's loss (arXiv 2402.11295, equation 9). Adds its gradient to d_x. Rows of zeros count as
// 0.
template <typename T>
double AddHiddenLoss(const Matrix<T>& x, const Matrix<T>& wanted, double weight, Matrix<T>* d_x) {
  double loss = 0;
  const double per_row = weight / static_cast<double>(x.rows());
  for (int64_t row = 0; row < x.rows(); ++row) {
    const T norm = x.row(row).norm();
    const T wanted_norm = wanted.row(row).norm();
    if (norm == 0 || wanted_norm == 0) continue;
    const RowVector<T> unit = x.row(row) / norm;
    const RowVector<T> difference = unit - wanted.row(row) / wanted_norm;
    loss += per_row * static_cast<double>(difference.squaredNorm());
    const RowVector<T> d_unit = difference * static_cast<T>(2 * per_row);
    d_x->row(row) += (d_unit - unit * unit.dot(d_unit)) / norm;
  }
  return loss;
}

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_HIDDEN_LOSS_H_
