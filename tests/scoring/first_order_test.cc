#include "scoring/first_order.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/scoring/cost_bench.h"

namespace bitbudget {
namespace {

constexpr Format kInt4{FormatKind::kInteger, 4, 32, false};
constexpr Format kInt2{FormatKind::kInteger, 2, 32, false};

TEST(FirstOrderTest, CostsAreTheDefinitionWithGradientsInDouble) {
  const std::vector<int64_t> lengths = {21, 1, 40};
  for (const TinyModelOptions& options : CostModels()) {
    const CostBench bench(options, lengths, {kInt4, kFormatF32, kInt2});
    Progress progress;
    const auto scores = ScoreFirstOrder(bench.Context(&progress));
    ASSERT_TRUE(scores.ok()) << scores.status();
    CrossEntropy<double> loss(NextTokens(bench.sequences()));
    const SeenProducts seen(bench.model(), bench.sequences(), &loss);
    for (size_t c = 0; c < scores->costs.size(); ++c) {
      const ComponentId id = static_cast<ComponentId>(c);
      const Matrix<double> gradient = seen.Gradient(id);
      const auto definition = [&](const Format& format) {
        const Matrix<double> change = bench.Change(id, format);
        double sum = 0;
        for (int64_t i = 0; i < gradient.rows(); ++i) {
          for (int64_t j = 0; j < gradient.cols(); ++j) {
            sum += std::abs(gradient(i, j) * change(i, j));
          }
        }
        return sum;
      };
      EXPECT_NEAR(scores->costs[c][0], definition(kInt4), 1e-4 * definition(kInt4));
      EXPECT_EQ(scores->costs[c][1], 0);
      EXPECT_NEAR(scores->costs[c][2], definition(kInt2), 1e-4 * definition(kInt2));
      EXPECT_GT(scores->costs[c][2], scores->costs[c][0]);
    }
  }
}

// Weights that are all alike change nothing; rows of weight zero have no part in the gradient.
TEST(FirstOrderTest, RowsCountByTheirWeights) {
  const CostBench bench(CostModels()[1], std::vector<int64_t>{21, 30}, {kInt4});
  const CostBench first(CostModels()[1], std::vector<int64_t>{21}, {kInt4});
  Progress progress;
  ScoreContext context = bench.Context(&progress);
  const auto plain = ScoreFirstOrder(context);
  const std::vector<float> alike(51, 2);
  context.row_weights = alike;
  const auto same = ScoreFirstOrder(context);
  std::vector<float> half(51, 0);
  std::fill_n(half.begin(), 21, 1);
  context.row_weights = half;
  const auto weighted = ScoreFirstOrder(context);
  const auto alone = ScoreFirstOrder(first.Context(&progress));
  ASSERT_TRUE(plain.ok() && same.ok() && weighted.ok() && alone.ok());
  // The mean is over the 49 rows that have a next token, and the weights' over 51.
  const double factor = 51.0 / 49 * 20 / 21;
  for (size_t c = 0; c < plain->costs.size(); ++c) {
    EXPECT_NEAR(same->costs[c][0], plain->costs[c][0], 1e-5 * plain->costs[c][0]);
    EXPECT_NEAR(weighted->costs[c][0], factor * alone->costs[c][0], 1e-4 * alone->costs[c][0]);
  }
}

TEST(FirstOrderTest, TheSameBitsForEveryThreadCount) {
  const CostBench bench(CostModels()[1], std::vector<int64_t>{21, 1, 40}, {kInt4, kInt2});
  Progress progress;
  const auto one = ScoreFirstOrder(bench.Context(&progress));
  ASSERT_TRUE(one.ok());
  for (const int threads : {2, 3, 7}) {
    const auto many = ScoreFirstOrder(bench.Context(&progress, threads));
    ASSERT_TRUE(many.ok());
    EXPECT_EQ(many->costs, one->costs) << threads;
  }
}

}  // namespace
}  // namespace bitbudget
