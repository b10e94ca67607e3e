#ifndef BITBUDGET_RUNTIME_TRAINING_LAYER_GRADIENT_H_
#define BITBUDGET_RUNTIME_TRAINING_LAYER_GRADIENT_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/model/architecture/rope.h"
#include "runtime/model/decoder/model.h"
#include "runtime/quantize/matrix.h"
#include "runtime/training/layer_attention.h"
#include "runtime/training/products.h"

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

// All parameters of one decoder layer, or the gradient by them. Parameters that a model does not
// have are empty. Norm weights include ModelConfig::norm_weight_offset.
template <typename T>
struct LayerParameters {
  std::array<Matrix<T>, kLayerMatrices> matrices;    // [outputs, inputs]
  std::array<RowVector<T>, kLayerMatrices> biases;   // [outputs]
  RowVector<T> attention_norm, attention_post_norm;  // [hidden]: before and after attention
  RowVector<T> mlp_norm, mlp_post_norm;              // [hidden]
  RowVector<T> q_norm, k_norm;                       // [head_dim], of every head
  // Matrices whose outputs are normalised ahead of the bias (onebit-ln); nothing in a gradient.
  std::array<bool, kLayerMatrices> normalised = {};
};

// A matrix of the checkpoint, widened.
Matrix<float> ReadMatrix(const Model& model, ComponentId id);

// The parameters of the checkpoint.
template <typename T>
LayerParameters<T> ReadLayer(const Model& model, int layer);

// Norms and biases, narrowed.
LayerVectors VectorsOf(const LayerParameters<float>& parameters);
// Replaces them.
void SetVectors(const LayerVectors& vectors, LayerParameters<float>* parameters);

// The parameters of a layer with its matrices packed for products. Refers to the parameters, which
// must keep their values. Not thread-safe.
template <typename T>
class LayerWeights {
 public:
  // Any parameters can be run. NOLINTNEXTLINE(google-explicit-constructor)
  LayerWeights(const LayerParameters<T>& parameters)
      : parameters_(&parameters),
        products_(parameters.matrices.begin(), parameters.matrices.end()) {}

  const LayerParameters<T>& parameters() const { return *parameters_; }
  const ProductWeights<T>& product(LayerMatrix which) const { return products_[which]; }

 private:
  const LayerParameters<T>* parameters_;
  std::vector<ProductWeights<T>> products_;
};

// Whole sequences that follow each other in the rows of x [rows, hidden]; `lengths` add up to rows.
template <typename T>
struct LayerInputsOf {
  std::vector<int64_t> lengths;
  Matrix<T> x;
};
using LayerInputs = LayerInputsOf<float>;

// Intermediate values of a forward pass that the backward pass needs; a reused workspace. All
// [rows, ...].
template <typename T>
struct LayerTrace {
  Matrix<T> normed, q_raw, k_raw;  // q and k before their norms, if there are norms
  Matrix<T> q, k, v, context, attention_out;
  Matrix<T> middle;  // the residual stream between the halves
  Matrix<T> mlp_normed, gate, up, hidden, mlp_out;
  Matrix<T> outputs;
  std::array<Matrix<T>, kLayerMatrices> raw;  // outputs ahead of their norm, of normalised matrices
};

// Sees every matrix product y = x W^T of a layer in reverse: its inputs x [rows, inputs] and the
// gradient d_y [rows, outputs] by its outputs, ahead of their norm if there is one. d_y^T x is the
// gradient by W.
template <typename T>
class ProductObserver {
 public:
  virtual ~ProductObserver() = default;
  virtual void Product(LayerMatrix which, const Matrix<T>& x, const Matrix<T>& d_y) = 0;
};

// What a backward pass gives; null: not asked for.
template <typename T>
struct LayerBackward {
  LayerParameters<T>* gradient = nullptr;        // by the parameters; set, not added to
  std::array<bool, kLayerMatrices> frozen = {};  // no gradient by these matrices is formed
  ProductObserver<T>* products = nullptr;
  Matrix<T>* d_x = nullptr;  // by the layer's inputs [rows, hidden]
};

struct DecoderLayerOptions {
  int64_t max_positions = 0;  // no sequence is longer
  // Bits that the inputs of matrices are rounded to per token, and queries, keys and values per
  // token and head (RoundPerToken); 0: not at all. Gradients pass straight through this rounding.
  int token_bits = 0;
  int threads = 1;
};

// One decoder layer, both halves of Transformer::RunStage, differentiable: its reverse mode is
// written by hand. In T = double gradients can be checked against differences; float runs on the
// runtime's kernels. Results do not depend on the number of threads. Immutable and shareable.
template <typename T>
class DecoderLayer {
 public:
  DecoderLayer(const ModelConfig& config, int layer, const DecoderLayerOptions& options);

  // Sets `trace`, its outputs [rows, hidden] among it.
  void Forward(const LayerWeights<T>& weights,
               const LayerInputsOf<T>& inputs,
               LayerTrace<T>* trace) const;

  // Given the gradient of a loss by the outputs, gives what `out` asks for. The other arguments are
  // those of the forward pass.
  void Backward(const LayerWeights<T>& weights,
                const LayerInputsOf<T>& inputs,
                const LayerTrace<T>& trace,
                const Matrix<T>& d_outputs,
                const LayerBackward<T>& out) const;

 private:
  // y = x W^T + bias, or norm(x W^T) + bias; the trace keeps what the norm's reverse needs.
  Matrix<T> Multiply(const LayerWeights<T>& weights,
                     LayerMatrix which,
                     const Matrix<T>& x,
                     LayerTrace<T>* trace) const;
  // Gives what is asked for of the product; returns the gradient by x.
  Matrix<T> MultiplyBackward(const LayerWeights<T>& weights,
                             LayerMatrix which,
                             const Matrix<T>& x,
                             const Matrix<T>& d_y,
                             const LayerTrace<T>& trace,
                             const LayerBackward<T>& out) const;
  // Rounds x in parts of `width` inputs each, if activations are rounded.
  void RoundParts(int64_t width, Matrix<T>* x) const;
  // Rotates every head of x [rows, heads * head_dim] to its position; `direction` -1: back.
  void Rotate(std::span<const int64_t> lengths, T direction, Matrix<T>* x) const;
  // Norms every head of x; and its reverse (NormBackward).
  Matrix<T> NormHeads(const RowVector<T>& weight, const Matrix<T>& x) const;
  Matrix<T> NormHeadsBackward(const RowVector<T>& weight,
                              const Matrix<T>& x,
                              const Matrix<T>& d_y,
                              RowVector<T>* d_weight) const;

  ModelConfig config_;
  AttentionShape attention_;
  DecoderLayerOptions options_;
  RopeTable rope_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_LAYER_GRADIENT_H_
