#include "runtime/training/model_gradient.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "runtime/training/row_functions.h"

namespace bitbudget {
namespace {

// Rows whose logits are looked at together.
constexpr int64_t kHeadRows = 128;

}  // namespace

template <typename T>
std::unique_ptr<ModelEnds<T>> ReadEnds(const Model& model) {
  const auto read = [&](ComponentId id) -> Matrix<T> {
    return ReadMatrix(model, id).template cast<T>();
  };
  const std::vector<float>& norm = model.final_norm();
  std::optional<Matrix<T>> head;
  if (model.head() != 0) head = read(model.head());
  return std::make_unique<ModelEnds<T>>(
      read(0),
      Eigen::Map<const RowVector<float>>(norm.data(), static_cast<int64_t>(norm.size()))
          .template cast<T>(),
      std::move(head));
}

template <typename T>
const LayerWeights<T>& CheckpointLayers<T>::Layer(int layer) {
  if (layer != layer_) {
    parameters_ = ReadLayer<T>(model_, layer);
    weights_.emplace(parameters_);
    layer_ = layer;
  }
  return *weights_;
}

template <typename T>
ModelGradient<T>::ModelGradient(const Model& model, const ModelGradientOptions& options)
    : config_(model.config()), options_(options) {
  for (int layer = 0; layer < config_.num_hidden_layers; ++layer) {
    layers_.emplace_back(config_,
                         layer,
                         DecoderLayerOptions{.max_positions = options.max_positions,
                                             .token_bits = options.token_bits,
                                             .threads = options.threads});
  }
  streams_.resize(layers_.size() + 1);
  if (options.keep_traces) traces_.resize(layers_.size());
}

template <typename T>
void ModelGradient<T>::Forward(const ModelEnds<T>& ends,
                               LayerSource<T>* source,
                               std::span<const std::vector<int32_t>> sequences) {
  tokens_.clear();
  std::vector<int64_t> lengths;
  for (const std::vector<int32_t>& sequence : sequences) {
    CHECK_LE(static_cast<int64_t>(sequence.size()), options_.max_positions);
    tokens_.insert(tokens_.end(), sequence.begin(), sequence.end());
    lengths.push_back(static_cast<int64_t>(sequence.size()));
  }
  for (LayerInputsOf<T>& stream : streams_) stream.lengths = lengths;
  Matrix<T>& first = streams_[0].x;
  first.resize(static_cast<int64_t>(tokens_.size()), config_.hidden_size);
  for (int64_t row = 0; row < first.rows(); ++row) {
    first.row(row) = ends.embedding().row(tokens_[row]) * static_cast<T>(config_.embedding_scale);
  }
  LayerTrace<T> shared;
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    if (Interrupted()) return;
    LayerTrace<T>& trace = options_.keep_traces ? traces_[layer] : shared;
    layers_[layer].Forward(source->Layer(static_cast<int>(layer)), streams_[layer], &trace);
    streams_[layer + 1].x = trace.outputs;
  }
}

template <typename T>
Matrix<T> ModelGradient<T>::Normed(const ModelEnds<T>& ends) const {
  return Norm(ends.final_norm(), config_.rms_norm_eps, streams_.back().x, options_.threads);
}

template <typename T>
Matrix<T> ModelGradient<T>::Logits(const ModelEnds<T>& ends, const Matrix<T>& normed) const {
  Matrix<T> logits = ends.head().Forward(normed, options_.threads);
  const T cap = static_cast<T>(config_.final_soft_cap);
  if (cap > 0) logits.array() = (logits.array() / cap).tanh() * cap;
  return logits;
}

template <typename T>
double ModelGradient<T>::Head(const ModelEnds<T>& ends,
                              LogitLoss<T>* loss,
                              GradientVisitor<T>* visitor,
                              Matrix<T>* d_normed) const {
  const Matrix<T> normed = Normed(ends);
  const T cap = static_cast<T>(config_.final_soft_cap);
  if (d_normed != nullptr) d_normed->resize(normed.rows(), normed.cols());
  double sum = 0;
  for (int64_t first = 0; first < normed.rows(); first += kHeadRows) {
    if (Interrupted()) return sum;
    const int64_t count = std::min(kHeadRows, normed.rows() - first);
    const Matrix<T> x = normed.middleRows(first, count);
    Matrix<T> logits = Logits(ends, x);
    Matrix<T> slope;
    if (cap > 0 && d_normed != nullptr) {
      slope = static_cast<T>(1) - (logits.array() / cap).square();
    }
    sum += loss->Apply(first, &logits);
    if (d_normed == nullptr) continue;
    if (cap > 0) logits.array() *= slope.array();
    visitor->Head(x, logits);
    d_normed->middleRows(first, count) = ends.head().Backward(logits, options_.threads);
  }
  return sum;
}

template <typename T>
double ModelGradient<T>::Loss(const ModelEnds<T>& ends, LogitLoss<T>* loss) const {
  return Head(ends, loss, nullptr, nullptr);
}

template <typename T>
double ModelGradient<T>::Backward(const ModelEnds<T>& ends,
                                  LayerSource<T>* source,
                                  LogitLoss<T>* loss,
                                  GradientVisitor<T>* visitor) {
  Matrix<T> d_normed;
  const double value = Head(ends, loss, visitor, &d_normed);
  if (Interrupted()) return value;
  RowVector<T> d_norm;
  Matrix<T> d_x = NormBackward(ends.final_norm(),
                               config_.rms_norm_eps,
                               streams_.back().x,
                               d_normed,
                               &d_norm,
                               options_.threads);
  visitor->FinalNorm(d_norm);
  visitor->Stream(layers(), streams_.back().x, &d_x);
  LayerTrace<T> shared;
  for (int layer = layers() - 1; layer >= 0; --layer) {
    if (Interrupted()) return value;
    const LayerWeights<T>& weights = source->Layer(layer);
    if (!options_.keep_traces) layers_[layer].Forward(weights, streams_[layer], &shared);
    LayerBackward<T> want = visitor->Want(layer);
    Matrix<T> below;
    want.d_x = &below;
    layers_[layer].Backward(
        weights, streams_[layer], options_.keep_traces ? traces_[layer] : shared, d_x, want);
    d_x = std::move(below);
    visitor->Done(layer);
    visitor->Stream(layer, streams_[layer].x, &d_x);
  }
  d_x *= static_cast<T>(config_.embedding_scale);
  visitor->Embedding(tokens_, d_x);
  return value;
}

template std::unique_ptr<ModelEnds<float>> ReadEnds<float>(const Model&);
template std::unique_ptr<ModelEnds<double>> ReadEnds<double>(const Model&);
template class CheckpointLayers<float>;
template class CheckpointLayers<double>;
template class ModelGradient<float>;
template class ModelGradient<double>;

}  // namespace bitbudget
