#include "scoring/kfac.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/scoring/cost_bench.h"

namespace bitbudget {
namespace {

constexpr Format kInt4{FormatKind::kInteger, 4, 32, false};
constexpr Format kInt2{FormatKind::kInteger, 2, 32, false};

// The definition, in double, all matrices formed.
double Definition(const CostBench& bench, const SeenProducts& seen, ComponentId id, Format format) {
  const Matrix<double> change = bench.Change(id, format);
  const double rows = static_cast<double>(bench.positions());
  const auto factored = [&](const Matrix<double>& x, const Matrix<double>& d_y) {
    const Matrix<double> inputs = x.transpose() * x / rows;
    const Matrix<double> outputs = d_y.transpose() * d_y / rows;
    return 0.5 * (change * inputs * change.transpose() * outputs).trace();
  };
  if (bench.model().component(id).layer >= 0) return factored(seen.x[id], seen.d_y[id]);
  double cost = 0;
  if (id == bench.model().head()) {
    const Matrix<double> moved = seen.head_x * change.transpose();
    cost += 0.5 * moved.cwiseProduct(seen.head_d).rowwise().sum().squaredNorm() / rows;
  }
  if (id != 0) return cost;
  // A lookup is a product with one-hot inputs: with W [hidden, vocab] = the table, transposed.
  const Matrix<double> outputs = seen.d_rows.transpose() * seen.d_rows / rows;
  for (const int32_t token : seen.tokens) {
    cost += 0.5 * (change.row(token) * outputs * change.row(token).transpose())(0, 0) / rows;
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
        const double fine = Definition(bench, seen, id, kInt4);
        const double coarse = Definition(bench, seen, id, kInt2);
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

}  // namespace
}  // namespace bitbudget
