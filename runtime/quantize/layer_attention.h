#ifndef BITBUDGET_RUNTIME_QUANTIZE_LAYER_ATTENTION_H_
#define BITBUDGET_RUNTIME_QUANTIZE_LAYER_ATTENTION_H_

#include <cstdint>
#include <span>

#include "runtime/model/architecture/config.h"
#include "runtime/quantize/matrix.h"

namespace bitbudget {

// What a layer's attention is, besides its inputs.
struct AttentionShape {
  AttentionShape(const ModelConfig& config, int layer);

  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  double scale;
  double soft_cap;  // 0: none
  int64_t window;   // 0: all earlier positions

  int64_t heads_per_kv() const { return heads / kv_heads; }
};

// Causal attention over whole sequences that follow each other in the rows: q [rows, heads * dim],
// k and v [rows, kv_heads * dim], rotated where they are to be; returns [rows, heads * dim].
// `lengths` add up to rows. The result does not depend on `threads`.
template <typename T>
Matrix<T> AttentionForward(const AttentionShape& shape,
                           std::span<const int64_t> lengths,
                           const Matrix<T>& q,
                           const Matrix<T>& k,
                           const Matrix<T>& v,
                           int threads);

// The gradients with respect to q, k and v, given that with respect to the result. The weights are
// computed anew instead of kept: [length, length] per head would be most of the memory.
template <typename T>
void AttentionBackward(const AttentionShape& shape,
                       std::span<const int64_t> lengths,
                       const Matrix<T>& q,
                       const Matrix<T>& k,
                       const Matrix<T>& v,
                       const Matrix<T>& d_result,
                       int threads,
                       Matrix<T>* d_q,
                       Matrix<T>* d_k,
                       Matrix<T>* d_v);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_LAYER_ATTENTION_H_
