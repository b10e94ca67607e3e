#include "scoring/zd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "runtime/base/random.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

std::vector<float> RandomWeights(uint64_t seed, int64_t size, float offset) {
  Random random(seed);
  std::vector<float> weights(size);
  for (float& w : weights) {
    double sum = 0;  // nearly normal
    for (int i = 0; i < 6; ++i) sum += random.Uniform() - 0.5;
    w = static_cast<float>(sum) + offset;
  }
  return weights;
}

// The definition, in long double.
double Naive(std::initializer_list<std::vector<float>> matrices) {
  long double sum = 0, squares = 0;
  int64_t n = 0, above = 0;
  for (const auto& matrix : matrices) {
    for (const float w : matrix) sum += w;
    n += static_cast<int64_t>(matrix.size());
  }
  const long double mean = sum / n;
  for (const auto& matrix : matrices) {
    for (const float w : matrix) squares += (w - mean) * (w - mean);
  }
  const long double deviation = std::sqrt(squares / n);
  for (const auto& matrix : matrices) {
    for (const float w : matrix) above += (w - mean) / deviation > 1;
  }
  return static_cast<double>(above) / static_cast<double>(n);
}

TEST(ZdTest, IsTheShareAboveOneDeviationOfThePooledWeights) {
  // Different spreads and a far mean, so that pooling differs from averaging.
  const std::vector<float> a = RandomWeights(1, 130 * 48, 0), b = RandomWeights(2, 70 * 20, 5);
  const std::vector<TensorView> views = {ViewOf(a, 130, 48), ViewOf(b, 70, 20)};
  const double zd = ZScoreDistribution(views, 2);
  EXPECT_EQ(zd, Naive({a, b}));
  EXPECT_NE(zd, (Naive({a}) + Naive({b})) / 2);
  EXPECT_EQ(ZScoreDistribution({&views[0], 1}, 2), Naive({a}));
  // About 16 % for normal weights.
  EXPECT_GT(Naive({a}), 0.14);
  EXPECT_LT(Naive({a}), 0.18);
}

TEST(ZdTest, IsOneSided) {
  // One large negative weight among equal ones: nothing stands out above.
  std::vector<float> weights(100, 0.25f);
  weights[17] = -9;
  const TensorView view = ViewOf(weights, 10, 10);
  EXPECT_EQ(ZScoreDistribution({&view, 1}, 1), 0);
  weights[17] = 9;
  EXPECT_EQ(ZScoreDistribution({&view, 1}, 1), 0.01);
}

TEST(ZdTest, ExactlyOneDeviationIsNotAbove) {
  const std::vector<float> weights = {-1, 1, -1, 1};  // mean 0, deviation 1
  const TensorView view = ViewOf(weights, 2, 2);
  EXPECT_EQ(ZScoreDistribution({&view, 1}, 1), 0);
}

TEST(ZdTest, EqualWeightsScoreZero) {
  for (const float value : {0.0f, 0.1f, -3.3f}) {
    const std::vector<float> weights(130 * 77, value);
    const TensorView view = ViewOf(weights, 130, 77);
    EXPECT_EQ(ZScoreDistribution({&view, 1}, 2), 0);
  }
  EXPECT_EQ(ZScoreDistribution({}, 1), 0);
}

TEST(ZdTest, DoesNotDependOnThreads) {
  const std::vector<float> weights = RandomWeights(3, 1000 * 33, 1);
  const TensorView view = ViewOf(weights, 1000, 33);
  const double one = ZScoreDistribution({&view, 1}, 1);
  for (const int threads : {2, 3, 7}) EXPECT_EQ(ZScoreDistribution({&view, 1}, threads), one);
}

TEST(ZdTest, ScoresLayersPooledAndComponentsByThemselves) {
  TinyModelOptions options;
  options.layers = 3;
  options.dtype = kFormatBF16;
  const TinyModel tiny(options);
  const auto model = Model::Load(tiny.path(), 2);
  ASSERT_TRUE(model.ok()) << model.status();
  ScoreContext context;
  context.model = model->get();
  context.threads = 2;
  const LayerScores scores = *ScoreZd(context);
  EXPECT_EQ(scores.scorer, "zd");
  ASSERT_EQ(scores.layers.size(), 3u);
  ASSERT_EQ(scores.components.size(), (*model)->components().size());
  std::vector<std::vector<TensorView>> layers(3);
  for (size_t c = 0; c < scores.components.size(); ++c) {
    const TensorView& weight = (*model)->Weight(static_cast<int>(c));
    EXPECT_EQ(scores.components[c], ZScoreDistribution({&weight, 1}, 1));
    const int layer = (*model)->component(static_cast<int>(c)).layer;
    if (layer >= 0) layers[layer].push_back(weight);
  }
  for (int b = 0; b < 3; ++b) EXPECT_EQ(scores.layers[b], ZScoreDistribution(layers[b], 1));
  EXPECT_EQ(scores.order, OrderByImportance(scores.layers, MostImportant::kSmallest));
}

}  // namespace
}  // namespace bitbudget
