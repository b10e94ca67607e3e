#ifndef BITBUDGET_TESTS_SCORING_COST_BENCH_H_
#define BITBUDGET_TESTS_SCORING_COST_BENCH_H_

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "runtime/quantize/rtn_encoder.h"
#include "runtime/quantize/weight_encoder.h"
#include "runtime/training/losses.h"
#include "runtime/training/model_gradient.h"
#include "scoring/scorer.h"
#include "tests/support/random_tokens.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {

// A tiny model with what a scorer of several formats needs.
class CostBench {
 public:
  CostBench(const TinyModelOptions& options,
            std::span<const int64_t> lengths,
            std::vector<Format> ladder) {
    const TinyModel tiny(options);
    auto loaded = Model::Load(tiny.path(), 1);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    model_ = *std::move(loaded);
    transformer_ = std::make_unique<Transformer>(*model_, 64);
    weight_encoder_ = std::make_unique<StatsWeightEncoder>(*model_, *encoder_);
    bank_ = std::make_unique<EncodingBank>(*model_, *weight_encoder_, BankOptions());
    for (size_t s = 0; s < lengths.size(); ++s) {
      sequences_.push_back(RandomTokens(lengths[s], model_->config().vocab_size, 50 + s));
      positions_ += lengths[s];
    }
    ladders_.assign(model_->components().size(), std::move(ladder));
  }

  const Model& model() const { return *model_; }
  const std::vector<std::vector<int32_t>>& sequences() const { return sequences_; }
  int64_t positions() const { return positions_; }

  ScoreContext Context(Progress* progress, int threads = 1) const {
    ScoreContext context;
    context.model = model_.get();
    context.threads = threads;
    context.progress = progress;
    context.transformer = transformer_.get();
    context.bank = bank_.get();
    context.sequences = sequences_;
    context.seed = kSeed;
    context.ladders = &ladders_;
    return context;
  }

  // The change of a component's weights by a format, in double.
  Matrix<double> Change(ComponentId id, const Format& format) const {
    const auto encoding = bank_->Encoded({id, format});
    EXPECT_TRUE(encoding.ok()) << encoding.status();
    Matrix<float> decoded(encoding->rows, encoding->cols);
    DecodeReference(*encoding, {decoded.data(), static_cast<size_t>(decoded.size())});
    return decoded.cast<double>() - ReadMatrix(*model_, id).cast<double>();
  }

  static constexpr uint64_t kSeed = 5;

 private:
  std::vector<std::vector<int32_t>> sequences_;
  int64_t positions_ = 0;
  std::vector<std::vector<Format>> ladders_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<Transformer> transformer_;
  const std::unique_ptr<Encoder> encoder_ = MakeRtnEncoder();
  std::unique_ptr<StatsWeightEncoder> weight_encoder_;
  std::unique_ptr<EncodingBank> bank_;
};

// Everything that a backward pass in double shows of one batch: by component the inputs and the
// gradients by the outputs (of a head in one piece).
class SeenProducts final : public GradientVisitor<double>, public ProductObserver<double> {
 public:
  SeenProducts(const Model& model,
               std::span<const std::vector<int32_t>> sequences,
               LogitLoss<double>* loss)
      : x(model.components().size()), d_y(model.components().size()), model_(model) {
    ModelGradient<double> pass(model, {.max_positions = 64});
    const auto ends = ReadEnds<double>(model);
    CheckpointLayers<double> layers(model);
    pass.Forward(*ends, &layers, sequences);
    pass.Backward(*ends, &layers, loss, this);
  }

  std::vector<Matrix<double>> x, d_y;  // by component; of the head below
  Matrix<double> head_x, head_d;
  std::vector<int32_t> tokens;
  Matrix<double> d_rows;  // by the embedding's rows of the tokens

  // The gradient by a component's weights.
  Matrix<double> Gradient(ComponentId id) const {
    if (model_.component(id).layer >= 0) return d_y[id].transpose() * x[id];
    Matrix<double> gradient =
        Matrix<double>::Zero(model_.component(id).rows, model_.component(id).cols);
    if (id == model_.head()) gradient += head_d.transpose() * head_x;
    for (size_t row = 0; id == 0 && row < tokens.size(); ++row) {
      gradient.row(tokens[row]) += d_rows.row(static_cast<int64_t>(row));
    }
    return gradient;
  }

 private:
  void Head(const Matrix<double>& x_part, const Matrix<double>& d_part) override {
    const int64_t before = head_x.rows();
    head_x.conservativeResize(before + x_part.rows(), x_part.cols());
    head_d.conservativeResize(before + x_part.rows(), d_part.cols());
    head_x.bottomRows(x_part.rows()) = x_part;
    head_d.bottomRows(x_part.rows()) = d_part;
  }
  LayerBackward<double> Want(int layer) override {
    layer_ = layer;
    return {.products = this};
  }
  void Product(LayerMatrix which, const Matrix<double>& in, const Matrix<double>& d_out) override {
    x[LayerComponentId(layer_, which)] = in;
    d_y[LayerComponentId(layer_, which)] = d_out;
  }
  void Embedding(std::span<const int32_t> looked_up, const Matrix<double>& gradient) override {
    tokens.assign(looked_up.begin(), looked_up.end());
    d_rows = gradient;
  }

  const Model& model_;
  int layer_ = 0;
};

// The layers of a model, one matrix of them changed.
class ChangedLayers final : public LayerSource<double> {
 public:
  ChangedLayers(const Model& model, ComponentId id, Matrix<double> change)
      : model_(model), id_(id), change_(std::move(change)) {}
  const LayerWeights<double>& Layer(int layer) override {
    parameters_ = ReadLayer<double>(model_, layer);
    for (int i = 0; i < kLayerMatrices; ++i) {
      if (LayerComponentId(layer, i) == id_) parameters_.matrices[i] += change_;
    }
    weights_.emplace(parameters_);
    return *weights_;
  }

 private:
  const Model& model_;
  const ComponentId id_;
  const Matrix<double> change_;
  LayerParameters<double> parameters_;
  std::optional<LayerWeights<double>> weights_;
};

// The logarithms of the probabilities [positions, vocab] with a component changed.
inline Matrix<double> LogProbabilities(const CostBench& bench,
                                       ComponentId id,
                                       const Matrix<double>& by) {
  const Model& model = bench.model();
  ModelGradient<double> pass(model, {.max_positions = 64});
  const auto stored = ReadEnds<double>(model);
  Matrix<double> embedding = stored->embedding();
  Matrix<double> head = stored->head().matrix();
  if (id == 0) embedding += by;
  if (id == model.head()) head += by;
  const ModelEnds<double> ends(embedding, stored->final_norm(), head);
  ChangedLayers layers(model, id, by);
  pass.Forward(ends, &layers, bench.sequences());
  Matrix<double> logits = pass.Logits(ends, pass.Normed(ends));
  for (int64_t row = 0; row < logits.rows(); ++row) {
    logits.row(row).array() -= logits.row(row).maxCoeff();
    logits.row(row).array() -= std::log(logits.row(row).array().exp().sum());
  }
  return logits;
}

// The mean KL(p || q) of rows of logarithms of probabilities, by weights of the rows.
inline double MeanKl(const Matrix<double>& p,
                     const Matrix<double>& q,
                     const Eigen::VectorXd& weights) {
  const Eigen::VectorXd rows = (p.array().exp() * (p - q).array()).rowwise().sum();
  return rows.dot(weights) / weights.sum();
}

// Untied, tied, and with an embedding scale and soft caps.
inline std::vector<TinyModelOptions> CostModels() {
  std::vector<TinyModelOptions> models(3);
  models[1].tied = true;
  models[2].architecture = Architecture::kGemma2;
  return models;
}

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_SCORING_COST_BENCH_H_
