#ifndef BITBUDGET_RUNTIME_QUANTIZE_CLIPPED_MATRIX_H_
#define BITBUDGET_RUNTIME_QUANTIZE_CLIPPED_MATRIX_H_

#include <cstdint>
#include <vector>

#include "runtime/quantize/clipping.h"
#include "runtime/quantize/matrix.h"
#include "runtime/tensor/encoding.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// Rounds matrices to grids that span a fixed part of the range of every group, whatever that range
// is: the parts that the grids of one encoding span.
class ClippedMatrix {
 public:
  // REQUIRES: an encoding of the weights in a dense integer format.
  ClippedMatrix(const Matrix<float>& weights, const Encoding& encoding);

  // The rounded weights. REQUIRES: the shape of the constructor's.
  Matrix<float> Round(const Matrix<float>& weights, int threads) const;

  // The gradient by the weights, from that by the rounded ones; straight through rounding.
  Matrix<float> Backward(const Matrix<float>& weights,
                         const Matrix<float>& d_rounded,
                         int threads) const;

 private:
  const GroupClipping::Logits& LogitsOf(const Matrix<float>& m, int64_t row, int64_t group) const {
    return logits_[row * format_.GroupsPerRow(m.cols()) + group];
  }

  Format format_;
  std::vector<GroupClipping::Logits> logits_;  // [row][group]
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_CLIPPED_MATRIX_H_
