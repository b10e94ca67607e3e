#include "runtime/training/row_functions.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <type_traits>
#include <vector>

#include "runtime/base/parallel.h"
#include "runtime/kernels/table.h"

namespace bitbudget {
namespace {

constexpr int64_t kPartRows = 64;

int64_t Parts(int64_t rows) { return (rows + kPartRows - 1) / kPartRows; }

// Calls body(part, first, count) for consecutive parts of the rows.
void ForEachPart(int threads,
                 int64_t rows,
                 int64_t cols,
                 const std::function<void(int64_t, int64_t, int64_t)>& body) {
  ParallelFor(ThreadsFor(threads, rows * cols), Parts(rows), [&](int64_t part, int) {
    const int64_t first = part * kPartRows;
    body(part, first, std::min(kPartRows, rows - first));
  });
}

template <typename T>
T Inverse(const Matrix<T>& x, int64_t row, double eps) {
  const T mean = x.row(row).squaredNorm() / static_cast<T>(x.cols());
  return 1 / std::sqrt(mean + static_cast<T>(eps));
}

// What NormOutputs makes of a row: (x - mean) * factor. Sums run in the order of Linear().
struct RowMoments {
  double mean = 0;
  double factor = 0;
};

template <typename T>
RowMoments MomentsOf(const Matrix<T>& x, int64_t row) {
  constexpr double kEpsilon = 1e-5;
  const auto n = static_cast<double>(x.cols());
  RowMoments moments;
  for (int64_t i = 0; i < x.cols(); ++i) moments.mean += static_cast<double>(x(row, i));
  moments.mean /= n;
  double squares = 0;
  for (int64_t i = 0; i < x.cols(); ++i) {
    const double distance = static_cast<double>(x(row, i)) - moments.mean;
    squares += distance * distance;
  }
  moments.factor = 1 / std::sqrt(squares / n + kEpsilon);
  return moments;
}

constexpr double kGeluRoot = 0.7978845608028654;  // sqrt(2 / pi)
constexpr double kGeluCube = 0.044715;

// activation(x) and its derivative.
template <typename T>
struct Activated {
  Matrix<T> value;
  Matrix<T> slope;
};

template <typename T, typename Rows>
Activated<T> Activate(Activation activation, const Rows& rows) {
  const auto x = rows.array();
  Activated<T> out;
  if (activation == Activation::kSilu) {
    const Matrix<T> sigmoid = 1 / (1 + (-x).exp());
    out.value = x * sigmoid.array();
    out.slope = sigmoid.array() * (1 + x * (1 - sigmoid.array()));
    return out;
  }
  const Matrix<T> bent =
      (static_cast<T>(kGeluRoot) * (x + static_cast<T>(kGeluCube) * x.cube())).tanh();
  out.value = x / 2 * (1 + bent.array());
  out.slope = (1 + bent.array()) / 2 + x / 2 * (1 - bent.array().square()) *
                                           static_cast<T>(kGeluRoot) *
                                           (1 + static_cast<T>(3 * kGeluCube) * x.square());
  return out;
}

}  // namespace

template <typename T>
Matrix<T> Norm(const RowVector<T>& weight, double eps, const Matrix<T>& x, int threads) {
  if (weight.size() == 0) return x;
  Matrix<T> y(x.rows(), x.cols());
  ForEachPart(threads, x.rows(), x.cols(), [&](int64_t, int64_t first, int64_t count) {
    for (int64_t row = first; row < first + count; ++row) {
      y.row(row).array() = x.row(row).array() * Inverse(x, row, eps) * weight.array();
    }
  });
  return y;
}

// With r = 1 / sqrt(mean(x^2) + eps) and g = d_y * weight: d_x = r g - x r^3 (g.x) / n.
template <typename T>
Matrix<T> NormBackward(const RowVector<T>& weight,
                       double eps,
                       const Matrix<T>& x,
                       const Matrix<T>& d_y,
                       RowVector<T>* d_weight,
                       int threads) {
  if (weight.size() == 0) return d_y;
  Matrix<T> d_x(x.rows(), x.cols());
  Matrix<T> sums = Matrix<T>::Zero(Parts(x.rows()), x.cols());
  const T n = static_cast<T>(x.cols());
  ForEachPart(threads, x.rows(), x.cols(), [&](int64_t part, int64_t first, int64_t count) {
    RowVector<T> g(x.cols());
    for (int64_t row = first; row < first + count; ++row) {
      const T inverse = Inverse(x, row, eps);
      sums.row(part).array() += d_y.row(row).array() * x.row(row).array() * inverse;
      g = d_y.row(row).cwiseProduct(weight);
      const T along = g.dot(x.row(row)) * inverse * inverse * inverse / n;
      d_x.row(row) = g * inverse - x.row(row) * along;
    }
  });
  if (d_weight != nullptr) {
    d_weight->setZero(weight.size());
    for (int64_t part = 0; part < sums.rows(); ++part) *d_weight += sums.row(part);
  }
  return d_x;
}

template <typename T>
Matrix<T> NormOutputs(const Matrix<T>& x, int threads) {
  Matrix<T> y(x.rows(), x.cols());
  ForEachPart(threads, x.rows(), x.cols(), [&](int64_t, int64_t first, int64_t count) {
    for (int64_t row = first; row < first + count; ++row) {
      const RowMoments moments = MomentsOf(x, row);
      for (int64_t i = 0; i < x.cols(); ++i) {
        y(row, i) =
            static_cast<T>((static_cast<double>(x(row, i)) - moments.mean) * moments.factor);
      }
    }
  });
  return y;
}

// With f = 1 / sqrt(variance + eps): d_x = f (d_y - mean(d_y) - y mean(d_y y)).
template <typename T>
Matrix<T> NormOutputsBackward(const Matrix<T>& x, const Matrix<T>& d_y, int threads) {
  Matrix<T> d_x(x.rows(), x.cols());
  const auto n = static_cast<double>(x.cols());
  ForEachPart(threads, x.rows(), x.cols(), [&](int64_t, int64_t first, int64_t count) {
    for (int64_t row = first; row < first + count; ++row) {
      const RowMoments moments = MomentsOf(x, row);
      const auto normed = [&](int64_t i) {
        return (static_cast<double>(x(row, i)) - moments.mean) * moments.factor;
      };
      double mean = 0;
      double along = 0;
      for (int64_t i = 0; i < x.cols(); ++i) {
        const auto d = static_cast<double>(d_y(row, i));
        mean += d / n;
        along += d * normed(i) / n;
      }
      for (int64_t i = 0; i < x.cols(); ++i) {
        const auto d = static_cast<double>(d_y(row, i));
        d_x(row, i) = static_cast<T>((d - mean - normed(i) * along) * moments.factor);
      }
    }
  });
  return d_x;
}

template <typename T>
Matrix<T> Gated(Activation activation, const Matrix<T>& gate, const Matrix<T>& up, int threads) {
  Matrix<T> hidden(gate.rows(), gate.cols());
  ForEachPart(threads, gate.rows(), gate.cols(), [&](int64_t, int64_t first, int64_t count) {
    if constexpr (std::is_same_v<T, float>) {
      const int64_t at = first * gate.cols();
      const auto multiply =
          activation == Activation::kSilu ? Kernels().silu_mul : Kernels().gelu_tanh_mul;
      multiply(gate.data() + at, up.data() + at, count * gate.cols(), hidden.data() + at);
      return;
    }
    hidden.middleRows(first, count) = Activate<T>(activation, gate.middleRows(first, count))
                                          .value.cwiseProduct(up.middleRows(first, count));
  });
  return hidden;
}

template <typename T>
void GatedBackward(Activation activation,
                   const Matrix<T>& gate,
                   const Matrix<T>& up,
                   const Matrix<T>& d_hidden,
                   Matrix<T>* d_gate,
                   Matrix<T>* d_up,
                   int threads) {
  d_gate->resize(gate.rows(), gate.cols());
  d_up->resize(gate.rows(), gate.cols());
  ForEachPart(threads, gate.rows(), gate.cols(), [&](int64_t, int64_t first, int64_t count) {
    const Activated<T> a = Activate<T>(activation, gate.middleRows(first, count));
    const auto d = d_hidden.middleRows(first, count);
    d_up->middleRows(first, count) = d.cwiseProduct(a.value);
    d_gate->middleRows(first, count) =
        d.cwiseProduct(up.middleRows(first, count)).cwiseProduct(a.slope);
  });
}

#define BB_INSTANTIATE(T)                                                                   \
  template Matrix<T> Norm<T>(const RowVector<T>&, double, const Matrix<T>&, int);           \
  template Matrix<T> NormBackward<T>(                                                       \
      const RowVector<T>&, double, const Matrix<T>&, const Matrix<T>&, RowVector<T>*, int); \
  template Matrix<T> NormOutputs<T>(const Matrix<T>&, int);                                 \
  template Matrix<T> NormOutputsBackward<T>(const Matrix<T>&, const Matrix<T>&, int);       \
  template Matrix<T> Gated<T>(Activation, const Matrix<T>&, const Matrix<T>&, int);         \
  template void GatedBackward<T>(Activation,                                                \
                                 const Matrix<T>&,                                          \
                                 const Matrix<T>&,                                          \
                                 const Matrix<T>&,                                          \
                                 Matrix<T>*,                                                \
                                 Matrix<T>*,                                                \
                                 int);
BB_INSTANTIATE(float)
BB_INSTANTIATE(double)
#undef BB_INSTANTIATE

}  // namespace bitbudget
