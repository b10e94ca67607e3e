#ifndef BITBUDGET_TESTS_TRAINING_ALL_PARAMETERS_H_
#define BITBUDGET_TESTS_TRAINING_ALL_PARAMETERS_H_

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "runtime/training/model_gradient.h"

namespace bitbudget {

// All parameters in a form that can be changed, and the gradient by them.
template <typename T>
struct AllParameters {
  Matrix<T> embedding;
  RowVector<T> final_norm;
  std::optional<Matrix<T>> head;
  std::vector<LayerParameters<T>> layers;

  std::unique_ptr<ModelEnds<T>> Ends() const {
    return std::make_unique<ModelEnds<T>>(embedding, final_norm, head);
  }
};

template <typename T>
AllParameters<T> ReadAll(const Model& model) {
  AllParameters<T> all;
  const std::unique_ptr<ModelEnds<T>> ends = ReadEnds<T>(model);
  all.embedding = ends->embedding();
  all.final_norm = ends->final_norm();
  if (model.head() != 0) all.head = ends->head().matrix();
  for (int layer = 0; layer < model.config().num_hidden_layers; ++layer) {
    all.layers.push_back(ReadLayer<T>(model, layer));
  }
  return all;
}

template <typename T>
class GivenLayers final : public LayerSource<T> {
 public:
  explicit GivenLayers(const std::vector<LayerParameters<T>>& layers) : layers_(layers) {}
  const LayerWeights<T>& Layer(int layer) override {
    weights_.emplace(layers_[layer]);
    return *weights_;
  }

 private:
  const std::vector<LayerParameters<T>>& layers_;
  std::optional<LayerWeights<T>> weights_;
};

// Keeps every gradient.
template <typename T>
class KeepAll final : public GradientVisitor<T> {
 public:
  KeepAll(const AllParameters<T>& like, int threads) : threads_(threads) {
    gradient_.embedding = Matrix<T>::Zero(like.embedding.rows(), like.embedding.cols());
    if (like.head.has_value()) gradient_.head = gradient_.embedding;
    gradient_.layers.resize(like.layers.size());
  }

  void Head(const Matrix<T>& x, const Matrix<T>& d_logits) override {
    (gradient_.head.has_value() ? *gradient_.head : gradient_.embedding) +=
        TransposedTimes(d_logits, x, threads_);
  }
  void FinalNorm(const RowVector<T>& gradient) override { gradient_.final_norm = gradient; }
  LayerBackward<T> Want(int layer) override { return {.gradient = &gradient_.layers[layer]}; }
  void Embedding(std::span<const int32_t> tokens, const Matrix<T>& gradient) override {
    for (size_t row = 0; row < tokens.size(); ++row) {
      gradient_.embedding.row(tokens[row]) += gradient.row(static_cast<int64_t>(row));
    }
  }

  const AllParameters<T>& gradient() const { return gradient_; }

 private:
  int threads_;
  AllParameters<T> gradient_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_TRAINING_ALL_PARAMETERS_H_
