#ifndef BITBUDGET_RUNTIME_QUANTIZE_LAYER_GRADIENT_H_
#define BITBUDGET_RUNTIME_QUANTIZE_LAYER_GRADIENT_H_

#include <array>
#include <cstdint>
#include <span>

#include "runtime/model/architecture/rope.h"
#include "runtime/model/decoder/model.h"
#include "runtime/quantize/layer_attention.h"
#include "runtime/quantize/matrix.h"

namespace bitbudget {

// The matrices of a layer, in the order of ListComponents.
enum LayerMatrix : int {
  kQMatrix,
  kKMatrix,
  kVMatrix,
  kOMatrix,
  kGateMatrix,
  kUpMatrix,
  kDownMatrix
};
inline constexpr int kLayerMatrices = 7;

// The component of a layer's matrix.
inline ComponentId LayerComponentId(int layer, int matrix) {
  return 1 + layer * kLayerMatrices + matrix;
}

// Everything that one decoder layer learns, or the gradient with respect to it. What a model has
// none of is empty. Norm weights include ModelConfig::norm_weight_offset.
template <typename T>
struct LayerParameters {
  std::array<Matrix<T>, kLayerMatrices> matrices;    // [outputs, inputs]
  std::array<RowVector<T>, kLayerMatrices> biases;   // [outputs]
  RowVector<T> attention_norm, attention_post_norm;  // [hidden]: ahead of it, behind it
  RowVector<T> mlp_norm, mlp_post_norm;              // [hidden]
  RowVector<T> q_norm, k_norm;                       // [head_dim], of every head
};

// Those of the checkpoint.
template <typename T>
LayerParameters<T> ReadLayer(const Model& model, int layer);

// What a forward pass leaves behind for the backward pass; a reused workspace. All [rows, ...].
template <typename T>
struct LayerTrace {
  Matrix<T> normed, q_raw, k_raw;  // q and k ahead of their norms, if there are norms
  Matrix<T> q, k, v, context, attention_out;
  Matrix<T> middle;  // the residual stream between the halves
  Matrix<T> mlp_normed, gate, up, hidden, mlp_out;
  Matrix<T> outputs;
};

// One decoder layer as Transformer::RunStage runs both of its halves, differentiable: the reverse
// mode by hand. In T = double gradients can be checked against differences; float runs on the
// runtime's kernels. Results do not depend on `threads`. Immutable and shareable.
template <typename T>
class DecoderLayer {
 public:
  // Positions up to `max_positions`. `token_bits`: what the inputs of the matrices are rounded to
  // per token, and queries, keys and values per token and head (RoundPerToken); 0: not at all.
  // Gradients pass straight through this rounding.
  DecoderLayer(const ModelConfig& config, int layer, int64_t max_positions, int token_bits = 0);

  // trace->outputs = layer(x) for whole sequences that follow each other in the rows of
  // x [rows, hidden]; `lengths` add up to rows.
  void Forward(const LayerParameters<T>& parameters,
               std::span<const int64_t> lengths,
               const Matrix<T>& x,
               int threads,
               LayerTrace<T>* trace) const;

  // Given the gradient of a loss with respect to the outputs, that with respect to the parameters,
  // and to x unless `d_x` is null. The other arguments are those of the forward pass.
  void Backward(const LayerParameters<T>& parameters,
                std::span<const int64_t> lengths,
                const Matrix<T>& x,
                const LayerTrace<T>& trace,
                const Matrix<T>& d_outputs,
                int threads,
                LayerParameters<T>* gradient,
                Matrix<T>* d_x) const;

 private:
  // y = x W^T + bias
  Matrix<T> Multiply(const LayerParameters<T>& parameters,
                     LayerMatrix which,
                     const Matrix<T>& x,
                     int threads) const;
  // The gradients of that: those of matrix and bias are set; returns that of x.
  Matrix<T> MultiplyBackward(const LayerParameters<T>& parameters,
                             LayerMatrix which,
                             const Matrix<T>& x,
                             const Matrix<T>& d_y,
                             int threads,
                             LayerParameters<T>* gradient) const;
  // Rounds parts of `width` of every row of x, if activations are rounded.
  void RoundParts(int64_t width, Matrix<T>* x) const;
  // Rotates every head of x [rows, heads * head_dim] to its position; `direction` -1: back.
  void Rotate(std::span<const int64_t> lengths, T direction, Matrix<T>* x) const;
  // x, or its heads normed; and the way back, which sets the weight's gradient.
  Matrix<T> NormHeads(const RowVector<T>& weight, const Matrix<T>& x) const;
  Matrix<T> NormHeadsBackward(const RowVector<T>& weight,
                              const Matrix<T>& x,
                              const Matrix<T>& d_y,
                              RowVector<T>* d_weight) const;

  ModelConfig config_;
  AttentionShape attention_;
  int token_bits_;
  RopeTable rope_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_LAYER_GRADIENT_H_
