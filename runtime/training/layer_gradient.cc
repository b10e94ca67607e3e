#include "runtime/training/layer_gradient.h"

#include <glog/logging.h>

#include <cmath>
#include <vector>

#include "runtime/kernels/token_rounding.h"

namespace bitbudget {
namespace {

// y = x / sqrt(mean(x^2) + eps) * weight, row by row; x where there is no weight.
template <typename T>
Matrix<T> Norm(const RowVector<T>& weight, double eps, const Matrix<T>& x) {
  if (weight.size() == 0) return x;
  Matrix<T> y(x.rows(), x.cols());
  for (int64_t row = 0; row < x.rows(); ++row) {
    const T mean = x.row(row).squaredNorm() / static_cast<T>(x.cols());
    const T inverse = 1 / std::sqrt(mean + static_cast<T>(eps));
    y.row(row).array() = x.row(row).array() * inverse * weight.array();
  }
  return y;
}

// With r = 1 / sqrt(mean(x^2) + eps) and g = d_y * weight: d_x = r g - x r^3 (g.x) / n.
template <typename T>
Matrix<T> NormBackward(const RowVector<T>& weight,
                       double eps,
                       const Matrix<T>& x,
                       const Matrix<T>& d_y,
                       RowVector<T>* d_weight) {
  if (weight.size() == 0) return d_y;
  Matrix<T> d_x(x.rows(), x.cols());
  d_weight->setZero(weight.size());
  const T n = static_cast<T>(x.cols());
  for (int64_t row = 0; row < x.rows(); ++row) {
    const T inverse = 1 / std::sqrt(x.row(row).squaredNorm() / n + static_cast<T>(eps));
    d_weight->array() += d_y.row(row).array() * x.row(row).array() * inverse;
    const RowVector<T> g = d_y.row(row).cwiseProduct(weight);
    const T along = g.dot(x.row(row)) * inverse * inverse * inverse / n;
    d_x.row(row) = g * inverse - x.row(row) * along;
  }
  return d_x;
}

constexpr double kGeluRoot = 0.7978845608028654;  // sqrt(2 / pi)
constexpr double kGeluCube = 0.044715;

// The activation of every gate, and its derivative.
template <typename T>
Matrix<T> Activate(Activation activation, const Matrix<T>& gate) {
  const auto x = gate.array();
  if (activation == Activation::kSilu) return x / (1 + (-x).exp());
  return x / 2 *
         (1 + (static_cast<T>(kGeluRoot) * (x + static_cast<T>(kGeluCube) * x.cube())).tanh());
}

template <typename T>
Matrix<T> ActivationSlope(Activation activation, const Matrix<T>& gate) {
  const auto x = gate.array();
  if (activation == Activation::kSilu) {
    const Matrix<T> sigmoid = 1 / (1 + (-x).exp());
    return sigmoid.array() * (1 + x * (1 - sigmoid.array()));
  }
  const Matrix<T> bent =
      (static_cast<T>(kGeluRoot) * (x + static_cast<T>(kGeluCube) * x.cube())).tanh();
  return (1 + bent.array()) / 2 + x / 2 * (1 - bent.array().square()) * static_cast<T>(kGeluRoot) *
                                      (1 + static_cast<T>(3 * kGeluCube) * x.square());
}

template <typename T>
RowVector<T> Widen(const std::vector<float>& values) {
  RowVector<T> out(values.size());
  for (size_t i = 0; i < values.size(); ++i) out[i] = static_cast<T>(values[i]);
  return out;
}

}  // namespace

template <typename T>
LayerParameters<T> ReadLayer(const Model& model, int layer) {
  LayerParameters<T> parameters;
  for (int i = 0; i < kLayerMatrices; ++i) {
    const TensorView& view = model.Weight(LayerComponentId(layer, i));
    Matrix<float> matrix(view.rows, view.cols);
    for (int64_t row = 0; row < view.rows; ++row) {
      view.ReadRow(row, {matrix.data() + row * view.cols, static_cast<size_t>(view.cols)});
    }
    parameters.matrices[i] = matrix.cast<T>();
  }
  const LayerVectors& vectors = model.layer(layer);
  const std::vector<float>* biases[] = {&vectors.q_bias,
                                        &vectors.k_bias,
                                        &vectors.v_bias,
                                        &vectors.o_bias,
                                        &vectors.gate_bias,
                                        &vectors.up_bias,
                                        &vectors.down_bias};
  for (int i = 0; i < kLayerMatrices; ++i) parameters.biases[i] = Widen<T>(*biases[i]);
  parameters.attention_norm = Widen<T>(vectors.attention_norm);
  parameters.attention_post_norm = Widen<T>(vectors.attention_post_norm);
  parameters.mlp_norm = Widen<T>(vectors.mlp_norm);
  parameters.mlp_post_norm = Widen<T>(vectors.mlp_post_norm);
  parameters.q_norm = Widen<T>(vectors.q_norm);
  parameters.k_norm = Widen<T>(vectors.k_norm);
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
Matrix<T> DecoderLayer<T>::Multiply(const LayerParameters<T>& parameters,
                                    LayerMatrix which,
                                    const Matrix<T>& x) const {
  Matrix<T> y = TimesTransposed(x, parameters.matrices[which], options_.threads);
  if (parameters.biases[which].size() > 0) y.rowwise() += parameters.biases[which];
  return y;
}

template <typename T>
Matrix<T> DecoderLayer<T>::MultiplyBackward(const LayerParameters<T>& parameters,
                                            LayerMatrix which,
                                            const Matrix<T>& x,
                                            const Matrix<T>& d_y,
                                            LayerParameters<T>* gradient) const {
  gradient->matrices[which] =
      TimesTransposed(Matrix<T>(d_y.transpose()), Matrix<T>(x.transpose()), options_.threads);
  if (parameters.biases[which].size() > 0) gradient->biases[which] = d_y.colwise().sum();
  return TimesTransposed(d_y, Matrix<T>(parameters.matrices[which].transpose()), options_.threads);
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
  const Matrix<T> normed = Norm<T>(weight, config_.rms_norm_eps, each);
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
  const Matrix<T> d_x =
      NormBackward<T>(weight, config_.rms_norm_eps, split(x), split(d_y), d_weight);
  return Eigen::Map<const Matrix<T>>(d_x.data(), x.rows(), x.cols());
}

template <typename T>
void DecoderLayer<T>::Forward(const LayerParameters<T>& parameters,
                              const LayerInputsOf<T>& inputs,
                              LayerTrace<T>* trace) const {
  const auto& [lengths, x] = inputs;
  CHECK_EQ(x.cols(), config_.hidden_size);
  const double eps = config_.rms_norm_eps;
  LayerTrace<T>& t = *trace;
  t.normed = Norm(parameters.attention_norm, eps, x);
  RoundParts(t.normed.cols(), &t.normed);
  t.q_raw = Multiply(parameters, kQMatrix, t.normed);
  t.k_raw = Multiply(parameters, kKMatrix, t.normed);
  t.v = Multiply(parameters, kVMatrix, t.normed);
  t.q = config_.qk_norm ? NormHeads(parameters.q_norm, t.q_raw) : t.q_raw;
  t.k = config_.qk_norm ? NormHeads(parameters.k_norm, t.k_raw) : t.k_raw;
  Rotate(lengths, 1, &t.q);
  Rotate(lengths, 1, &t.k);
  for (Matrix<T>* heads : {&t.q, &t.k, &t.v}) RoundParts(config_.head_dim, heads);
  t.context = AttentionForward<T>(attention_, lengths, {t.q, t.k, t.v}, options_.threads);
  RoundParts(t.context.cols(), &t.context);
  t.attention_out = Multiply(parameters, kOMatrix, t.context);
  t.middle = x + Norm(parameters.attention_post_norm, eps, t.attention_out);

  t.mlp_normed = Norm(parameters.mlp_norm, eps, t.middle);
  RoundParts(t.mlp_normed.cols(), &t.mlp_normed);
  t.gate = Multiply(parameters, kGateMatrix, t.mlp_normed);
  t.up = Multiply(parameters, kUpMatrix, t.mlp_normed);
  t.hidden = Activate(config_.activation, t.gate).cwiseProduct(t.up);
  RoundParts(t.hidden.cols(), &t.hidden);
  t.mlp_out = Multiply(parameters, kDownMatrix, t.hidden);
  t.outputs = t.middle + Norm(parameters.mlp_post_norm, eps, t.mlp_out);
}

template <typename T>
void DecoderLayer<T>::Backward(const LayerParameters<T>& parameters,
                               const LayerInputsOf<T>& inputs,
                               const LayerTrace<T>& t,
                               const Matrix<T>& d_outputs,
                               LayerParameters<T>* gradient,
                               Matrix<T>* d_x) const {
  const auto& [lengths, x] = inputs;
  const double eps = config_.rms_norm_eps;
  const Matrix<T> d_mlp_out =
      NormBackward(parameters.mlp_post_norm, eps, t.mlp_out, d_outputs, &gradient->mlp_post_norm);
  const Matrix<T> d_hidden =
      MultiplyBackward(parameters, kDownMatrix, t.hidden, d_mlp_out, gradient);
  const Matrix<T> d_up = d_hidden.cwiseProduct(Activate(config_.activation, t.gate));
  const Matrix<T> d_gate =
      d_hidden.cwiseProduct(t.up).cwiseProduct(ActivationSlope(config_.activation, t.gate));
  Matrix<T> d_normed = MultiplyBackward(parameters, kUpMatrix, t.mlp_normed, d_up, gradient);
  d_normed += MultiplyBackward(parameters, kGateMatrix, t.mlp_normed, d_gate, gradient);
  const Matrix<T> d_middle =
      d_outputs + NormBackward(parameters.mlp_norm, eps, t.middle, d_normed, &gradient->mlp_norm);

  const Matrix<T> d_attention_out = NormBackward(parameters.attention_post_norm,
                                                 eps,
                                                 t.attention_out,
                                                 d_middle,
                                                 &gradient->attention_post_norm);
  const Matrix<T> d_context =
      MultiplyBackward(parameters, kOMatrix, t.context, d_attention_out, gradient);
  auto [d_q, d_k, d_v] =
      AttentionBackward<T>(attention_, lengths, {t.q, t.k, t.v}, d_context, options_.threads);
  // The transpose of a rotation (times the attention factor) is the rotation back (times it).
  Rotate(lengths, -1, &d_q);
  Rotate(lengths, -1, &d_k);
  if (config_.qk_norm) {
    d_q = NormHeadsBackward(parameters.q_norm, t.q_raw, d_q, &gradient->q_norm);
    d_k = NormHeadsBackward(parameters.k_norm, t.k_raw, d_k, &gradient->k_norm);
  }
  d_normed = MultiplyBackward(parameters, kQMatrix, t.normed, d_q, gradient);
  d_normed += MultiplyBackward(parameters, kKMatrix, t.normed, d_k, gradient);
  d_normed += MultiplyBackward(parameters, kVMatrix, t.normed, d_v, gradient);
  const Matrix<T> through =
      NormBackward(parameters.attention_norm, eps, x, d_normed, &gradient->attention_norm);
  if (d_x != nullptr) *d_x = d_middle + through;
}

template LayerParameters<float> ReadLayer<float>(const Model&, int);
template LayerParameters<double> ReadLayer<double>(const Model&, int);
template class DecoderLayer<float>;
template class DecoderLayer<double>;

}  // namespace bitbudget
