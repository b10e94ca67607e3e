#ifndef BITBUDGET_TESTS_KERNELS_REFERENCE_H_
#define BITBUDGET_TESTS_KERNELS_REFERENCE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

// Twins of the fast code in double, short enough to be obviously right.

namespace bitbudget {

struct ReferenceProduct {
  double value = 0;
  double norm = 0;  // sum of |a| |b|: what rounding errors are proportional to
};

inline ReferenceProduct ReferenceDot(std::span<const float> a, std::span<const float> b) {
  ReferenceProduct out;
  for (size_t i = 0; i < a.size(); ++i) {
    out.value += double{a[i]} * b[i];
    out.norm += std::abs(double{a[i]} * b[i]);
  }
  return out;
}

// softmax(scale * x) in double.
inline std::vector<double> ReferenceSoftmax(std::span<const float> x, double scale) {
  double max = -INFINITY;
  for (const float value : x) max = std::max(max, scale * value);
  std::vector<double> out;
  double sum = 0;
  for (const float value : x) sum += out.emplace_back(std::exp(scale * value - max));
  for (double& value : out) value /= sum;
  return out;
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_KERNELS_REFERENCE_H_
