#include "scoring/format_costs.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "scoring/fisher.h"
#include "scoring/kfac.h"
#include "tests/scoring/cost_bench.h"

namespace bitbudget {
namespace {

constexpr Format kInt4{FormatKind::kInteger, 4, 32, false};
constexpr Format kInt8{FormatKind::kInteger, 8, 32, false};

std::vector<size_t> Ranks(const std::vector<double>& values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<size_t> ranks(values.size());
  for (size_t i = 0; i < order.size(); ++i) ranks[order[i]] = i;
  return ranks;
}

double RankCorrelation(const std::vector<double>& a, const std::vector<double>& b) {
  const std::vector<size_t> x = Ranks(a);
  const std::vector<size_t> y = Ranks(b);
  const double n = static_cast<double>(a.size());
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double difference = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    sum += difference * difference;
  }
  return 1 - 6 * sum / (n * (n * n - 1));
}

TEST(FormatCostsTest, CostsAreCloseToTheMeasuredDivergenceOfEveryComponent) {
  const std::vector<int64_t> lengths(40, 20);
  const CostBench bench(TinyModelOptions{}, lengths, {kInt4});
  Progress progress;
  const auto kfac = ScoreKfac(bench.Context(&progress));
  const auto fisher = ScoreFisher(bench.Context(&progress));
  ASSERT_TRUE(kfac.ok() && fisher.ok());
  const Matrix<double> none =
      Matrix<double>::Zero(bench.model().component(0).rows, bench.model().component(0).cols);
  const Matrix<double> reference = LogProbabilities(bench, 0, none);
  std::vector<double> measured;
  std::vector<double> estimates[2];
  for (size_t c = 0; c < kfac->costs.size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    const Matrix<double> changed = LogProbabilities(bench, id, bench.Change(id, kInt4));
    measured.push_back(
        (reference.array().exp() * (reference - changed).array()).rowwise().sum().mean());
    estimates[0].push_back(kfac->costs[c][0]);
    estimates[1].push_back(fisher->costs[c][0]);
  }
  // Positions are not independent of each other, which K-FAC leaves out.
  for (size_t i = 0; i < measured.size(); ++i) {
    EXPECT_NEAR(std::log(estimates[0][i] / measured[i]), 0, std::log(1.8)) << i;
    EXPECT_NEAR(std::log(estimates[1][i] / measured[i]), 0, std::log(1.3)) << i;
  }
  for (const std::vector<double>& estimate : estimates) {
    EXPECT_GT(RankCorrelation(estimate, measured), 0.9);
  }
}

TEST(FormatCostsTest, ALayerScoresTheSumOfItsComponentsAndTheLargestIsFirst) {
  const std::vector<int64_t> lengths = {3};
  const CostBench bench(TinyModelOptions(), lengths, {kInt4, kInt8});
  Progress progress;
  const ScoreContext context = bench.Context(&progress);
  FormatCosts costs = NoCosts(context);
  for (size_t c = 0; c < costs.size(); ++c) {
    const int layer = bench.model().components()[c].layer;
    costs[c] = {layer < 0 ? 100.0 : layer + 1.0, 0.5};
  }
  const auto scores = ScoresOfCosts("name", costs, context);
  ASSERT_TRUE(scores.ok());
  EXPECT_EQ(scores->scorer, "name");
  EXPECT_EQ(scores->layers, (std::vector<double>{7 * 0.75, 7 * 1.25}));
  EXPECT_EQ(scores->order, (std::vector<int>{1, 0}));
  EXPECT_EQ(scores->costs, costs);
  costs[3][1] = std::nan("");
  const absl::Status status = ScoresOfCosts("name", costs, context).status();
  EXPECT_EQ(status.message(),
            "the cost of int8-g32 for model.layers.0.self_attn.v_proj is not finite");
}

}  // namespace
}  // namespace bitbudget
