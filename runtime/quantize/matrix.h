#ifndef BITBUDGET_RUNTIME_QUANTIZE_MATRIX_H_
#define BITBUDGET_RUNTIME_QUANTIZE_MATRIX_H_

#include <Eigen/Core>

namespace bitbudget {

// Row-major, as weights and activations are stored everywhere.
template <typename T>
using Matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <typename T>
using RowVector = Eigen::Matrix<T, 1, Eigen::Dynamic>;

// a b^T for a[m, k] and b[n, k], on up to `threads` threads. In float on the runtime's kernels, so
// with the same bits for any number of threads and on every CPU; in double by Eigen, on one thread:
// that is for checks.
Matrix<float> TimesTransposed(const Matrix<float>& a, const Matrix<float>& b, int threads);
Matrix<double> TimesTransposed(const Matrix<double>& a, const Matrix<double>& b, int threads);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_MATRIX_H_
