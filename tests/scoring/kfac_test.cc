#include "scoring/kfac.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/scoring/cost_bench.h"

namespace bitbudget {
namespace {

constexpr Format kInt4{FormatKind::kInteger, 4, 32, false};
constexpr Format kInt2{FormatKind::kInteger, 2, 32, false};

// The definition, in double, all matrices formed.
double Definition(
    const CostBench& bench, const SeenProducts& seen, ComponentId id, Format format, Format other) {
  const Matrix<double> change = bench.Change(id, format);
  const Matrix<double> change2 = bench.Change(id, other);
  const double rows = static_cast<double>(bench.positions());
  const auto factored = [&](const Matrix<double>& x, const Matrix<double>& d_y) {
    const Matrix<double> inputs = x.transpose() * x / rows;
    const Matrix<double> outputs = d_y.transpose() * d_y / rows;
    return 0.5 * (change * inputs * change2.transpose() * outputs).trace();
  };
  if (bench.model().component(id).layer >= 0) return factored(seen.x[id], seen.d_y[id]);
  double cost = 0;
  if (id == bench.model().head()) {
    const auto along = [&](const Matrix<double>& by) -> Eigen::VectorXd {
      const Matrix<double> moved = seen.head_x * by.transpose();
      return moved.cwiseProduct(seen.head_d).rowwise().sum();
    };
    cost += 0.5 * along(change).dot(along(change2)) / rows;
  }
  if (id != 0) return cost;
  // A lookup is a product with one-hot inputs: with W [hidden, vocab] = the table, transposed.
  const Matrix<double> outputs = seen.d_rows.transpose() * seen.d_rows / rows;
  for (const int32_t token : seen.tokens) {
    cost += 0.5 * (change.row(token) * outputs * change2.row(token).transpose())(0, 0) / rows;
  }
  return cost;
}

TEST(KfacTest, CostsAreTheDefinitionWithMoreAndWithFewerRowsThanOutputs) {
  for (const TinyModelOptions& options : CostModels()) {
    for (const std::vector<int64_t>& lengths :
         {std::vector<int64_t>{21, 1, 40, 30, 60}, std::vector<int64_t>{6, 3}}) {
      const CostBench bench(options, lengths, {kInt4, kFormatF32, kInt2});
      Progress progress;
      const auto scores = ScoreKfac(bench.Context(&progress));
      ASSERT_TRUE(scores.ok()) << scores.status();
      SampledLabels<double> labels(CostBench::kSeed, 0);
      const SeenProducts seen(bench.model(), bench.sequences(), &labels);
      std::vector<double> layers(bench.model().config().num_hidden_layers);
      for (size_t c = 0; c < scores->costs.size(); ++c) {
        const Component& component = bench.model().components()[c];
        const ComponentId id = static_cast<ComponentId>(c);
        const double fine = Definition(bench, seen, id, kInt4, kInt4);
        const double coarse = Definition(bench, seen, id, kInt2, kInt2);
        EXPECT_NEAR(scores->costs[c][0], fine, 1e-4 * fine) << component.name;
        EXPECT_EQ(scores->costs[c][1], 0) << component.name;
        EXPECT_NEAR(scores->costs[c][2], coarse, 1e-4 * coarse) << component.name;
        EXPECT_GT(fine, 0);
        if (component.layer >= 0) layers[component.layer] += (fine + coarse) / 3;
      }
      for (size_t layer = 0; layer < layers.size(); ++layer) {
        EXPECT_NEAR(scores->layers[layer], layers[layer], 1e-4 * layers[layer]);
      }
    }
  }
}

// More rows than a sketch has, and more than the head is measured on; with few tokens inputs are
// alike, so that sums without signs would be those of their mean.
TEST(KfacTest, CostsOfManyRowsAreNearTheDefinition) {
  std::vector<TinyModelOptions> models = CostModels();
  models.emplace_back().vocab = 4;
  for (const TinyModelOptions& options : models) {
    const CostBench bench(options, std::vector<int64_t>(20, 60), {kInt4, kInt2});
    Progress progress;
    const auto scores = ScoreKfac(bench.Context(&progress));
    ASSERT_TRUE(scores.ok()) << scores.status();
    SampledLabels<double> labels(CostBench::kSeed, 0);
    const SeenProducts seen(bench.model(), bench.sequences(), &labels);
    double sum = 0;
    double squares = 0;
    double count = 0;
    for (size_t c = 0; c < scores->costs.size(); ++c) {
      for (size_t i = 0; i < 2; ++i) {
        const Format format = i == 0 ? kInt4 : kInt2;
        const double exact = Definition(bench, seen, static_cast<ComponentId>(c), format, format);
        const double ratio = std::log(scores->costs[c][i] / exact);
        sum += ratio;
        squares += ratio * ratio;
        ++count;
      }
    }
    EXPECT_NEAR(sum / count, 0, 0.05);
    EXPECT_LT(std::sqrt(squares / count), 0.08);
  }
}

TEST(KfacTest, TheSameBitsForEveryThreadCount) {
  const std::vector<int64_t> lengths = {21, 1, 40};
  const CostBench bench(CostModels()[1], lengths, {kInt4, kInt2});
  Progress progress;
  const auto one = ScoreKfac(bench.Context(&progress));
  ASSERT_TRUE(one.ok());
  for (const int threads : {2, 3, 7}) {
    const auto many = ScoreKfac(bench.Context(&progress, threads));
    ASSERT_TRUE(many.ok());
    EXPECT_EQ(many->costs, one->costs) << threads;
  }
}

TEST(KfacTest, StopsWhenItIsInterrupted) {
  struct Stop : Progress {
    bool Interrupted() const override { return ++asked > after; }
    mutable int asked = 0;
    int after = 0;
  } stop;
  const std::vector<int64_t> lengths = {21};
  const CostBench bench(TinyModelOptions(), lengths, {kInt4});
  for (const int after : {0, 2, 4, 9}) {
    stop.asked = 0;
    stop.after = after;
    EXPECT_TRUE(absl::IsCancelled(ScoreKfac(bench.Context(&stop)).status())) << after;
  }
}

TEST(KfacTest, PairsAreTheSameFormBetweenTwoFormats) {
  for (const TinyModelOptions& options : CostModels()) {
    for (const std::vector<int64_t>& lengths :
         {std::vector<int64_t>{21, 1, 40, 30, 60}, std::vector<int64_t>{6, 3}}) {
      const CostBench bench(options, lengths, {kInt4, kFormatF32, kInt2});
      Progress progress;
      ScoreContext context = bench.Context(&progress);
      context.pairs = true;
      const auto scores = ScoreKfac(context);
      ASSERT_TRUE(scores.ok()) << scores.status();
      SampledLabels<double> labels(CostBench::kSeed, 0);
      const SeenProducts seen(bench.model(), bench.sequences(), &labels);
      for (size_t c = 0; c < scores->pairs.size(); ++c) {
        const std::vector<double>& pairs = scores->pairs[c];
        ASSERT_EQ(pairs.size(), 9u);
        const double across = Definition(bench, seen, static_cast<ComponentId>(c), kInt4, kInt2);
        const double scale = std::sqrt(scores->costs[c][0] * scores->costs[c][2]);
        EXPECT_NEAR(pairs[2], across, 1e-4 * scale);
        EXPECT_EQ(pairs[6], pairs[2]);
        EXPECT_EQ(pairs[0], scores->costs[c][0]);
        EXPECT_EQ(pairs[8], scores->costs[c][2]);
        for (const int stored : {1, 3, 4, 5, 7}) EXPECT_EQ(pairs[stored], 0);
      }
    }
  }
}

// Weights that are all alike change nothing; where only one sequence counts, the gradients of the
// others' labels are left out.
TEST(KfacTest, RowsCountByTheirWeights) {
  const CostBench bench(CostModels()[0], std::vector<int64_t>{21, 30}, {kInt4});
  Progress progress;
  ScoreContext context = bench.Context(&progress);
  const auto plain = ScoreKfac(context);
  const std::vector<float> alike(51, 2);
  context.row_weights = alike;
  const auto same = ScoreKfac(context);
  std::vector<float> none(51, 0);
  none[20] = 1;
  context.row_weights = none;
  const auto one = ScoreKfac(context);
  ASSERT_TRUE(plain.ok() && same.ok() && one.ok());
  const size_t last = plain->costs.size() - 2;  // of the last layer
  EXPECT_NEAR(same->costs[last][0], plain->costs[last][0], 1e-5 * plain->costs[last][0]);
  EXPECT_NE(one->costs[last][0], plain->costs[last][0]);
  EXPECT_GT(one->costs[last][0], 0);
}

}  // namespace
}  // namespace bitbudget
