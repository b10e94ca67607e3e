#include "runtime/quantize/clipped_matrix.h"

#include <algorithm>
#include <span>

#include "runtime/base/parallel.h"
#include "runtime/quantize/coded_rows.h"

namespace bitbudget {
namespace {

// Group `group` of a row; MatrixType: a matrix or a const one.
template <typename MatrixType>
auto Group(const Format& format, MatrixType& m, int64_t row, int64_t group) {
  const int64_t size = format.GroupSize(m.cols());
  const int64_t begin = group * size;
  return std::span(m.data() + row * m.cols() + begin,
                   static_cast<size_t>(std::min(size, m.cols() - begin)));
}

template <typename Body>
void ForEachGroup(const Format& format, const Matrix<float>& m, int threads, const Body& body) {
  const int64_t groups = format.GroupsPerRow(m.cols());
  ParallelFor(threads, m.rows(), [&](int64_t row, int) {
    for (int64_t g = 0; g < groups; ++g) body(row, g);
  });
}

}  // namespace

ClippedMatrix::ClippedMatrix(const Matrix<float>& weights, const Encoding& encoding)
    : format_(encoding.format) {
  const FormatLevels levels(format_);
  for (int64_t row = 0; row < weights.rows(); ++row) {
    const std::vector<IntegerGrid> grids = CodedRow::Read(encoding, levels, row).IntegerGrids();
    for (size_t g = 0; g < grids.size(); ++g) {
      const auto group = Group(format_, weights, row, static_cast<int64_t>(g));
      logits_.push_back(GroupClipping(group, format_).LogitsOf(grids[g]));
    }
  }
}

Matrix<float> ClippedMatrix::Round(const Matrix<float>& weights, int threads) const {
  Matrix<float> out(weights.rows(), weights.cols());
  ForEachGroup(format_, weights, threads, [&](int64_t row, int64_t g) {
    const std::span<const float> group = Group(format_, weights, row, g);
    const GroupClipping clipping(group, format_);
    const std::span<float> rounded = Group(format_, out, row, g);
    RoundingErrors(group, clipping.GridOf(LogitsOf(weights, row, g)).grid, format_, rounded);
    for (size_t j = 0; j < group.size(); ++j) rounded[j] += group[j];
  });
  return out;
}

Matrix<float> ClippedMatrix::Backward(const Matrix<float>& weights,
                                      const Matrix<float>& d_rounded,
                                      int threads) const {
  Matrix<float> out(weights.rows(), weights.cols());
  ForEachGroup(format_, weights, threads, [&](int64_t row, int64_t g) {
    const std::span<const float> group = Group(format_, weights, row, g);
    const GroupClipping clipping(group, format_);
    const GroupClipping::Logits& logits = LogitsOf(weights, row, g);
    clipping.Backward(group,
                      logits,
                      clipping.GridOf(logits),
                      Group(format_, d_rounded, row, g),
                      Group(format_, out, row, g));
  });
  return out;
}

}  // namespace bitbudget
