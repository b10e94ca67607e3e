#include "runtime/training/layer_gradient.h"

#include <glog/logging.h>

#include <utility>
#include <vector>

#include "runtime/kernels/token_rounding.h"
#include "runtime/training/row_functions.h"

namespace bitbudget {
namespace {

template <typename T>
RowVector<T> Widen(const std::vector<float>& values) {
  RowVector<T> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) out[i] = static_cast<T>(values[i]);
  return out;
}

// Calls visit(member of LayerVectors, values) for every norm and bias of a layer.
template <typename Parameters, typename Visit>
void ForEachVector(Parameters& p, const Visit& visit) {
  using V = LayerVectors;
  visit(&V::attention_norm, p.attention_norm);
  visit(&V::attention_post_norm, p.attention_post_norm);
  visit(&V::mlp_norm, p.mlp_norm);
  visit(&V::mlp_post_norm, p.mlp_post_norm);
  visit(&V::q_norm, p.q_norm);
  visit(&V::k_norm, p.k_norm);
  visit(&V::q_bias, p.biases[kQMatrix]);
  visit(&V::k_bias, p.biases[kKMatrix]);
  visit(&V::v_bias, p.biases[kVMatrix]);
  visit(&V::o_bias, p.biases[kOMatrix]);
  visit(&V::gate_bias, p.biases[kGateMatrix]);
  visit(&V::up_bias, p.biases[kUpMatrix]);
  visit(&V::down_bias, p.biases[kDownMatrix]);
}

}  // namespace

LayerVectors VectorsOf(const LayerParameters<float>& parameters) {
  LayerVectors vectors;
  ForEachVector(parameters, [&](auto own, const RowVector<float>& values) {
    (vectors.*own).assign(values.data(), values.data() + values.size());
  });
  return vectors;
}

void SetVectors(const LayerVectors& vectors, LayerParameters<float>* parameters) {
  ForEachVector(*parameters,
                [&](auto own, RowVector<float>& values) { values = Widen<float>(vectors.*own); });
}

Matrix<float> ReadMatrix(const Model& model, ComponentId id) {
  const TensorView& view = model.Weight(id);
  Matrix<float> matrix(view.rows, view.cols);
  for (int64_t row = 0; row < view.rows; ++row) {
    view.ReadRow(row, {matrix.data() + row * view.cols, static_cast<size_t>(view.cols)});
  }
  model.ReleasePages(id);
  return matrix;
}

template <typename T>
LayerParameters<T> ReadLayer(const Model& model, int layer) {
  LayerParameters<T> parameters;
  for (int i = 0; i < kLayerMatrices; ++i) {
    parameters.matrices[i] = ReadMatrix(model, LayerComponentId(layer, i)).template cast<T>();
  }
  ForEachVector(parameters, [&](auto own, RowVector<T>& values) {
    values = Widen<T>(model.layer(layer).*own);
  });
  return parameters;
}

template <typename T>
DecoderLayer<T>::DecoderLayer(const ModelConfig& config,
                              int layer,
                              const DecoderLayerOptions& options)
    : config_(config), attention_(config, layer), options_(options) {
  const bool own = config.Slides(layer) && config.sliding_rope_theta.has_value();
  rope_ = RopeTable(own ? *config.sliding_rope_theta : config.rope_theta,
                    own ? RopeScaling() : config.rope_scaling,
                    config.rotary_dim,
                    options.max_positions);
}

template <typename T>
Matrix<T> DecoderLayer<T>::Multiply(const LayerWeights<T>& weights,
                                    LayerMatrix which,
                                    const Matrix<T>& x,
                                    LayerTrace<T>* trace) const {
  Matrix<T> y = weights.product(which).Forward(x, options_.threads);
  if (weights.parameters().normalised[which]) {
    trace->raw[which] = std::move(y);
    y = NormOutputs(trace->raw[which], options_.threads);
  }
  const RowVector<T>& bias = weights.parameters().biases[which];
  if (bias.size() > 0) y.rowwise() += bias;
  return y;
}

template <typename T>
Matrix<T> DecoderLayer<T>::MultiplyBackward(const LayerWeights<T>& weights,
                                            LayerMatrix which,
                                            const Matrix<T>& x,
                                            const Matrix<T>& d_y,
                                            const LayerTrace<T>& trace,
                                            const LayerBackward<T>& out) const {
  if (out.gradient != nullptr && weights.parameters().biases[which].size() > 0) {
    out.gradient->biases[which] = d_y.colwise().sum();
  }
  Matrix<T> ahead_of_norm;
  const bool normalised = weights.parameters().normalised[which];
  if (normalised) ahead_of_norm = NormOutputsBackward(trace.raw[which], d_y, options_.threads);
  const Matrix<T>& d_product = normalised ? ahead_of_norm : d_y;
  if (out.products != nullptr) out.products->Product(which, x, d_product);
  if (out.gradient != nullptr && !out.frozen[which]) {
    out.gradient->matrices[which] = TransposedTimes(d_product, x, options_.threads);
  }
  return weights.product(which).Backward(d_product, options_.threads);
}

template <typename T>
void DecoderLayer<T>::RoundParts(int64_t width, Matrix<T>* x) const {
  if (options_.token_bits == 0) return;
  Matrix<float> rounded = x->template cast<float>();
  RoundPerToken(rounded.data(), width, rounded.size() / width, width, options_.token_bits);
  *x = rounded.template cast<T>();
}

template <typename T>
void DecoderLayer<T>::Rotate(std::span<const int64_t> lengths, T direction, Matrix<T>* x) const {
  int64_t row = 0;
  for (const int64_t length : lengths) {
    for (int64_t position = 0; position < length; ++position, ++row) {
      const float* cos = rope_.Cos(position);
      const float* sin = rope_.Sin(position);
      for (int64_t head = 0; head < x->cols(); head += config_.head_dim) {
        T* const first = x->data() + row * x->cols() + head;
        T* const second = first + rope_.half;
        for (int64_t i = 0; i < rope_.half; ++i) {
          const T c = static_cast<T>(cos[i]);
          const T s = static_cast<T>(sin[i]) * direction;
          const T a = first[i];
          const T b = second[i];
          first[i] = a * c - b * s;
          second[i] = b * c + a * s;
        }
      }
    }
  }
}

template <typename T>
Matrix<T> DecoderLayer<T>::NormHeads(const RowVector<T>& weight, const Matrix<T>& x) const {
  const int64_t heads = x.cols() / config_.head_dim;
  const Eigen::Map<const Matrix<T>> each(x.data(), x.rows() * heads, config_.head_dim);
  const Matrix<T> normed = Norm<T>(weight, config_.rms_norm_eps, each, options_.threads);
  return Eigen::Map<const Matrix<T>>(normed.data(), x.rows(), x.cols());
}

template <typename T>
Matrix<T> DecoderLayer<T>::NormHeadsBackward(const RowVector<T>& weight,
                                             const Matrix<T>& x,
                                             const Matrix<T>& d_y,
                                             RowVector<T>* d_weight) const {
  const int64_t heads = x.cols() / config_.head_dim;
  const auto split = [&](const Matrix<T>& all) {
    return Eigen::Map<const Matrix<T>>(all.data(), x.rows() * heads, config_.head_dim);
  };
  const Matrix<T> d_x = NormBackward<T>(
      weight, config_.rms_norm_eps, split(x), split(d_y), d_weight, options_.threads);
  return Eigen::Map<const Matrix<T>>(d_x.data(), x.rows(), x.cols());
}

template <typename T>
void DecoderLayer<T>::Forward(const LayerWeights<T>& weights,
                              const LayerInputsOf<T>& inputs,
                              LayerTrace<T>* trace) const {
  const auto& [lengths, x] = inputs;
  CHECK_EQ(x.cols(), config_.hidden_size);
  const LayerParameters<T>& p = weights.parameters();
  const double eps = config_.rms_norm_eps;
  const int threads = options_.threads;
  LayerTrace<T>& t = *trace;
  t.normed = Norm(p.attention_norm, eps, x, threads);
  RoundParts(t.normed.cols(), &t.normed);
  t.q_raw = Multiply(weights, kQMatrix, t.normed, trace);
  t.k_raw = Multiply(weights, kKMatrix, t.normed, trace);
  t.v = Multiply(weights, kVMatrix, t.normed, trace);
  t.q = config_.qk_norm ? NormHeads(p.q_norm, t.q_raw) : t.q_raw;
  t.k = config_.qk_norm ? NormHeads(p.k_norm, t.k_raw) : t.k_raw;
  Rotate(lengths, 1, &t.q);
  Rotate(lengths, 1, &t.k);
  for (Matrix<T>* heads : {&t.q, &t.k, &t.v}) RoundParts(config_.head_dim, heads);
  t.context = AttentionForward<T>(attention_, lengths, {t.q, t.k, t.v}, threads);
  RoundParts(t.context.cols(), &t.context);
  t.attention_out = Multiply(weights, kOMatrix, t.context, trace);
  t.middle = x + Norm(p.attention_post_norm, eps, t.attention_out, threads);

  t.mlp_normed = Norm(p.mlp_norm, eps, t.middle, threads);
  RoundParts(t.mlp_normed.cols(), &t.mlp_normed);
  t.gate = Multiply(weights, kGateMatrix, t.mlp_normed, trace);
  t.up = Multiply(weights, kUpMatrix, t.mlp_normed, trace);
  t.hidden = Gated(config_.activation, t.gate, t.up, threads);
  RoundParts(t.hidden.cols(), &t.hidden);
  t.mlp_out = Multiply(weights, kDownMatrix, t.hidden, trace);
  t.outputs = t.middle + Norm(p.mlp_post_norm, eps, t.mlp_out, threads);
}

template <typename T>
void DecoderLayer<T>::Backward(const LayerWeights<T>& weights,
                               const LayerInputsOf<T>& inputs,
                               const LayerTrace<T>& t,
                               const Matrix<T>& d_outputs,
                               const LayerBackward<T>& out) const {
  const auto& [lengths, x] = inputs;
  const LayerParameters<T>& p = weights.parameters();
  const double eps = config_.rms_norm_eps;
  const int threads = options_.threads;
  // The gradient by a vector, where any is asked for.
  const auto vector = [&](RowVector<T> LayerParameters<T>::*which) {
    return out.gradient == nullptr ? nullptr : &(out.gradient->*which);
  };
  using P = LayerParameters<T>;
  const Matrix<T> d_mlp_out =
      NormBackward(p.mlp_post_norm, eps, t.mlp_out, d_outputs, vector(&P::mlp_post_norm), threads);
  const Matrix<T> d_hidden = MultiplyBackward(weights, kDownMatrix, t.hidden, d_mlp_out, t, out);
  Matrix<T> d_gate;
  Matrix<T> d_up;
  GatedBackward(config_.activation, t.gate, t.up, d_hidden, &d_gate, &d_up, threads);
  Matrix<T> d_normed = MultiplyBackward(weights, kUpMatrix, t.mlp_normed, d_up, t, out);
  d_normed += MultiplyBackward(weights, kGateMatrix, t.mlp_normed, d_gate, t, out);
  const Matrix<T> d_middle =
      d_outputs + NormBackward(p.mlp_norm, eps, t.middle, d_normed, vector(&P::mlp_norm), threads);

  const Matrix<T> d_attention_out = NormBackward(p.attention_post_norm,
                                                 eps,
                                                 t.attention_out,
                                                 d_middle,
                                                 vector(&P::attention_post_norm),
                                                 threads);
  const Matrix<T> d_context =
      MultiplyBackward(weights, kOMatrix, t.context, d_attention_out, t, out);
  auto [d_q, d_k, d_v] =
      AttentionBackward<T>(attention_, lengths, {t.q, t.k, t.v}, d_context, threads);
  // The transpose of a rotation (times the attention factor) is the rotation back (times it).
  Rotate(lengths, -1, &d_q);
  Rotate(lengths, -1, &d_k);
  if (config_.qk_norm) {
    d_q = NormHeadsBackward(p.q_norm, t.q_raw, d_q, vector(&P::q_norm));
    d_k = NormHeadsBackward(p.k_norm, t.k_raw, d_k, vector(&P::k_norm));
  }
  d_normed = MultiplyBackward(weights, kQMatrix, t.normed, d_q, t, out);
  d_normed += MultiplyBackward(weights, kKMatrix, t.normed, d_k, t, out);
  d_normed += MultiplyBackward(weights, kVMatrix, t.normed, d_v, t, out);
  const Matrix<T> through =
      NormBackward(p.attention_norm, eps, x, d_normed, vector(&P::attention_norm), threads);
  if (out.d_x != nullptr) *out.d_x = d_middle + through;
}

template LayerParameters<float> ReadLayer<float>(const Model&, int);
template LayerParameters<double> ReadLayer<double>(const Model&, int);
template class DecoderLayer<float>;
template class DecoderLayer<double>;

}  // namespace bitbudget
