#include "runtime/training/model_gradient.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "runtime/model/decoder/transformer.h"
#include "runtime/training/losses.h"
#include "tests/support/matrices.h"
#include "tests/support/random_tokens.h"
#include "tests/support/reference_weights.h"
#include "tests/support/tiny_model.h"
#include "tests/support/variants.h"
#include "tests/training/all_parameters.h"

namespace bitbudget {
namespace {

constexpr int64_t kMaxPositions = 32;

std::vector<Variant> Variants() {
  std::vector<Variant> variants;
  const auto add = [&](const char* name, const auto& change) {
    AddVariant(name, 170, change, &variants);
  };
  add("llama", [](auto&) {});
  add("tied", [](auto& o) { o.tied = true; });
  add("gemma2", [](auto& o) { o.architecture = Architecture::kGemma2; });
  return variants;
}

class ModelGradientTest : public testing::TestWithParam<Variant> {
 protected:
  ModelGradientTest() {
    const TinyModel tiny(GetParam().options);
    model_ = *Model::Load(tiny.path(), 1);
    for (const int64_t length : {9, 1, 14}) {
      sequences_.push_back(RandomTokens(length, model_->config().vocab_size, length));
    }
  }

  template <typename T>
  AllParameters<T> Gradient(const AllParameters<T>& all,
                            LogitLoss<T>* loss,
                            const ModelGradientOptions& options,
                            double* value) const {
    ModelGradient<T> pass(*model_, options);
    const auto ends = all.Ends();
    GivenLayers<T> layers(all.layers);
    pass.Forward(*ends, &layers, sequences_);
    KeepAll<T> keep(all, options.threads);
    *value = pass.Backward(*ends, &layers, loss, &keep);
    EXPECT_EQ(pass.Loss(*ends, loss), *value);
    return keep.gradient();
  }

  std::unique_ptr<Model> model_;
  std::vector<std::vector<int32_t>> sequences_;
};

// Calls visit(a's values, b's values) for every parameter.
template <typename T, typename Visit>
void ForEachPair(AllParameters<T>& a, const AllParameters<T>& b, const Visit& visit) {
  const auto pair = [&](auto& x, const auto& y) {
    ASSERT_EQ(x.size(), y.size());
    if (x.size() > 0) visit(x.reshaped(), y.reshaped());
  };
  pair(a.embedding, b.embedding);
  pair(a.final_norm, b.final_norm);
  if (a.head.has_value()) pair(*a.head, *b.head);
  for (size_t layer = 0; layer < a.layers.size(); ++layer) {
    LayerParameters<T>& p = a.layers[layer];
    const LayerParameters<T>& q = b.layers[layer];
    for (int i = 0; i < kLayerMatrices; ++i) {
      pair(p.matrices[i], q.matrices[i]);
      pair(p.biases[i], q.biases[i]);
    }
    pair(p.attention_norm, q.attention_norm);
    pair(p.attention_post_norm, q.attention_post_norm);
    pair(p.mlp_norm, q.mlp_norm);
    pair(p.mlp_post_norm, q.mlp_post_norm);
    pair(p.q_norm, q.q_norm);
    pair(p.k_norm, q.k_norm);
  }
}

// Along the gradient the loss must rise by the gradient's squared norm: a directional derivative of
// all parameters at once, which a wrong factor anywhere changes.
TEST_P(ModelGradientTest, TheLossRisesAlongTheGradientByItsSquaredNorm) {
  AllParameters<double> all = ReadAll<double>(*model_);
  Matrix<double> reference(24, model_->config().vocab_size);
  Random random(3);
  for (int64_t i = 0; i < reference.size(); ++i) reference.data()[i] = random.Normal();
  const auto logits = [&](int64_t first, int64_t count) -> Matrix<double> {
    return reference.middleRows(first, count);
  };
  CrossEntropy<double> entropy(NextTokens(sequences_));
  Distillation<double> distillation(logits, NextTokens(sequences_), 0.7);
  SampledLabels<double> sampled(1, 0);  // labels do not change with a small step
  for (LogitLoss<double>* loss :
       std::vector<LogitLoss<double>*>{&entropy, &distillation, &sampled}) {
    double value = 0;
    const ModelGradientOptions options{.max_positions = kMaxPositions};
    const AllParameters<double> gradient = Gradient(all, loss, options, &value);
    double squared = 0;
    ForEachPair(all, gradient, [&](auto, auto g) { squared += g.squaredNorm(); });
    const auto at = [&](double step) {
      AllParameters<double> moved = all;
      ForEachPair(moved, gradient, [&](auto p, auto g) { p += step * g; });
      double moved_value = 0;
      Gradient(moved, loss, options, &moved_value);
      return moved_value;
    };
    const double step = 1e-5 / std::sqrt(squared);
    EXPECT_NEAR((at(step) - at(-step)) / (2 * step) / squared, 1, 1e-6);
  }
}

TEST_P(ModelGradientTest, TheLogitsAreThoseOfTheTransformer) {
  const auto ends = ReadEnds<float>(*model_);
  CheckpointLayers<float> layers(*model_);
  ModelGradient<float> pass(*model_, {.max_positions = kMaxPositions});
  pass.Forward(*ends, &layers, sequences_);
  const Matrix<float> logits = pass.Logits(*ends, pass.Normed(*ends));

  const Transformer transformer(*model_, kMaxPositions);
  const ReferenceWeights weights(*model_, 1);
  TransformerWorkspace workspace;
  int64_t first = 0;
  for (const std::vector<int32_t>& tokens : sequences_) {
    const int64_t rows = static_cast<int64_t>(tokens.size());
    Matrix<float> x(rows, model_->config().hidden_size);
    transformer.Embed(weights.set(), tokens, x.data());
    const SequenceRows whole{rows, nullptr};
    for (int stage = 1; stage + 1 < NumStages(model_->config()); ++stage) {
      transformer.RunStage(stage, weights.set(), {&whole, 1}, x.data(), &workspace);
    }
    Matrix<float> expected(rows, model_->config().vocab_size);
    transformer.Logits(weights.set(), x.data(), x.cols(), rows, expected.data(), &workspace);
    EXPECT_LT((expected - logits.middleRows(first, rows)).cwiseAbs().maxCoeff(), 2e-5);
    first += rows;
  }
}

TEST_P(ModelGradientTest, IsTheSameForAnyThreadsAndWithTracesKept) {
  const AllParameters<float> all = ReadAll<float>(*model_);
  CrossEntropy<float> loss(NextTokens(sequences_));
  double value = 0;
  AllParameters<float> alone = Gradient(all, &loss, {.max_positions = kMaxPositions}, &value);
  for (const bool keep_traces : {false, true}) {
    double again = 0;
    const AllParameters<float> gradient =
        Gradient(all,
                 &loss,
                 {.max_positions = kMaxPositions, .threads = 3, .keep_traces = keep_traces},
                 &again);
    EXPECT_EQ(again, value);
    ForEachPair(
        alone, gradient, [](auto a, auto b) { EXPECT_TRUE((a.array() == b.array()).all()); });
  }
}

INSTANTIATE_TEST_SUITE_P(Architectures,
                         ModelGradientTest,
                         testing::ValuesIn(Variants()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace bitbudget
