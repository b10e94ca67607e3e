#ifndef BITBUDGET_RUNTIME_TRAINING_ROW_FUNCTIONS_H_
#define BITBUDGET_RUNTIME_TRAINING_ROW_FUNCTIONS_H_

#include "runtime/model/architecture/config.h"
#include "runtime/quantize/matrix.h"

namespace bitbudget {

// What a decoder layer does to single rows, and its reverse. Rows are spread over threads in fixed
// parts whose sums are added in order: the same bits for any number of threads.

// y = x / sqrt(mean(x^2) + eps) * weight, row by row; x where there is no weight.
template <typename T>
Matrix<T> Norm(const RowVector<T>& weight, double eps, const Matrix<T>& x, int threads);

// Given d_y returns d_x and sets the gradient by the weight, unless `d_weight` is null.
template <typename T>
Matrix<T> NormBackward(const RowVector<T>& weight,
                       double eps,
                       const Matrix<T>& x,
                       const Matrix<T>& d_y,
                       RowVector<T>* d_weight,
                       int threads);

// y = (x - mean) / sqrt(variance + 1e-5), row by row: the norm behind the products of onebit-ln. In
// float with the bits of Linear() (runtime/kernels/linear.h).
template <typename T>
Matrix<T> NormOutputs(const Matrix<T>& x, int threads);

// Given d_y returns d_x.
template <typename T>
Matrix<T> NormOutputsBackward(const Matrix<T>& x, const Matrix<T>& d_y, int threads);

// activation(gate) * up
template <typename T>
Matrix<T> Gated(Activation activation, const Matrix<T>& gate, const Matrix<T>& up, int threads);

// Given the gradient by that, sets those by gate and up.
template <typename T>
void GatedBackward(Activation activation,
                   const Matrix<T>& gate,
                   const Matrix<T>& up,
                   const Matrix<T>& d_hidden,
                   Matrix<T>* d_gate,
                   Matrix<T>* d_up,
                   int threads);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_ROW_FUNCTIONS_H_
