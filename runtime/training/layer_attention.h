#ifndef BITBUDGET_RUNTIME_TRAINING_LAYER_ATTENTION_H_
#define BITBUDGET_RUNTIME_TRAINING_LAYER_ATTENTION_H_

#include <algorithm>
#include <cstdint>
#include <span>

#include "runtime/model/architecture/config.h"
#include "runtime/quantize/matrix.h"

namespace bitbudget {

// The shape and constants of a layer's attention.
struct AttentionShape {
  AttentionShape(const ModelConfig& config, int layer);

  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  double scale;
  double soft_cap;  // 0: none
  int64_t window;   // 0: all earlier positions

  int64_t heads_per_kv() const { return heads / kv_heads; }
  // The first position that a position attends to.
  int64_t FirstSeen(int64_t position) const {
    return window == 0 ? 0 : std::max<int64_t>(0, position + 1 - window);
  }
};

// Queries [rows, heads * head_dim], keys and values [rows, kv_heads * head_dim], rotated already.
template <typename T>
struct AttentionInputs {
  const Matrix<T>& q;
  const Matrix<T>& k;
  const Matrix<T>& v;
};

// Causal attention over whole sequences that follow each other in the rows; returns
// [rows, heads * head_dim]. `lengths` add up to rows. The result does not depend on `threads`.
template <typename T>
Matrix<T> AttentionForward(const AttentionShape& shape,
                           std::span<const int64_t> lengths,
                           const AttentionInputs<T>& inputs,
                           int threads);

template <typename T>
struct AttentionGradient {
  Matrix<T> q;
  Matrix<T> k;
  Matrix<T> v;
};

// The gradient by the inputs, given that by the result. Attention weights are computed again, not
// kept: [length, length] per head would be most of the memory.
template <typename T>
AttentionGradient<T> AttentionBackward(const AttentionShape& shape,
                                       std::span<const int64_t> lengths,
                                       const AttentionInputs<T>& inputs,
                                       const Matrix<T>& d_result,
                                       int threads);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_LAYER_ATTENTION_H_
