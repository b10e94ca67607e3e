#ifndef BITBUDGET_TESTS_KERNELS_LINEAR_DEFINITIONS_H_
#define BITBUDGET_TESTS_KERNELS_LINEAR_DEFINITIONS_H_

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/tensor/encoding.h"

// What the integer paths compute, by definition and without panels.
namespace bitbudget {

// Adds the minimums of a row of weights: one FMA per group, the exact sum of the group's activation
// codes times their scale. `code` and `scale` give those of input i.
template <typename CodeOf, typename ScaleOf>
float AddMinimums(std::span<const float> minimums,
                  int64_t k,
                  const CodeOf& code,
                  const ScaleOf& scale,
                  float acc) {
  if (minimums.empty()) return acc;
  const int64_t group = k / static_cast<int64_t>(minimums.size());
  for (size_t g = 0; g < minimums.size(); ++g) {
    const int64_t begin = static_cast<int64_t>(g) * group;
    int64_t sum = 0;
    for (int64_t i = begin; i < begin + group; ++i) sum += code(i);
    acc = std::fma(static_cast<float>(sum) * scale(begin), -minimums[g], acc);
  }
  return acc;
}

// The int16 path by its definition: codes of the row, exact integer sums, one FMA per flush group,
// then the minimums.
inline std::vector<float> DefinedInt16(const std::vector<float>& x,
                                       int64_t m,
                                       const Encoding& encoding,
                                       int flush) {
  const int64_t k = encoding.cols;
  std::vector<float> y(m * encoding.rows);
  std::vector<int16_t> weights(k);
  std::vector<float> scales(encoding.format.GroupsPerRow(k));
  std::vector<float> minimums(encoding.format.HasMinimums() ? scales.size() : 0);
  for (int64_t r = 0; r < m; ++r) {
    const float* row = x.data() + r * k;
    float absmax = 0;
    for (int64_t i = 0; i < k; ++i) absmax = std::max(absmax, std::abs(row[i]));
    for (int64_t j = 0; j < encoding.rows; ++j) {
      UnpackIntegerRow(encoding, j, weights, scales, minimums);
      const auto code = [&](int64_t i) {
        return static_cast<int64_t>(std::nearbyint(row[i] * (32767.0f / absmax)));
      };
      float acc = 0;
      for (int64_t begin = 0; begin < k; begin += flush) {
        int64_t sum = 0;
        for (int64_t i = begin; i < std::min(begin + flush, k); ++i) {
          sum += weights[i] * code(i);
        }
        const float scale = scales[begin / encoding.format.GroupSize(k)] * (absmax / 32767.0f);
        acc = std::fma(static_cast<float>(sum), scale, acc);
      }
      y[r * encoding.rows + j] = AddMinimums(
          minimums, k, code, [&](int64_t) { return absmax / 32767.0f; }, acc);
    }
  }
  return y;
}

// The int8 paths by their definition: activation codes per row and group, exact integer sums of
// centred weights, one FMA per group.
inline std::vector<float> DefinedInt8(const std::vector<float>& x,
                                      int64_t m,
                                      const Encoding& encoding,
                                      int group) {
  const int64_t k = encoding.cols;
  std::vector<float> y(m * encoding.rows, 0.0f);
  std::vector<int16_t> weights(k);
  std::vector<float> scales(encoding.format.GroupsPerRow(k));
  std::vector<float> minimums(encoding.format.HasMinimums() ? scales.size() : 0);
  for (int64_t j = 0; j < encoding.rows; ++j) {
    UnpackIntegerRow(encoding, j, weights, scales, minimums);
    for (int64_t r = 0; r < m; ++r) {
      const float* row = x.data() + r * k;
      std::vector<float> absmax((k + group - 1) / group);
      for (int64_t i = 0; i < k; ++i) {
        absmax[i / group] = std::max(absmax[i / group], std::abs(row[i]));
      }
      const auto code = [&](int64_t i) {
        return static_cast<int64_t>(std::nearbyint(row[i] * (127.0f / absmax[i / group])));
      };
      const auto scale = [&](int64_t i) { return absmax[i / group] / 127.0f; };
      float& acc = y[r * encoding.rows + j];
      for (int64_t begin = 0; begin < k; begin += group) {
        const int64_t end = std::min(begin + group, k);
        int64_t sum = 0;
        for (int64_t i = begin; i < end; ++i) sum += weights[i] * code(i);
        const float both = scales[begin / encoding.format.GroupSize(k)] * scale(begin);
        acc = std::fma(static_cast<float>(sum), both, acc);
      }
      acc = AddMinimums(minimums, k, code, scale, acc);
    }
  }
  return y;
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_KERNELS_LINEAR_DEFINITIONS_H_
