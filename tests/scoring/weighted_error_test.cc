#include "scoring/weighted_error.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/scoring/cost_bench.h"

namespace bitbudget {
namespace {

constexpr Format kInt4{FormatKind::kInteger, 4, 32, false};
constexpr Format kInt2{FormatKind::kInteger, 2, 32, false};

// The definition, in double: inputs as the training path has them.
double Definition(const CostBench& bench,
                  const SeenProducts& seen,
                  ComponentId id,
                  const Format& format) {
  const Matrix<double> change = bench.Change(id, format);
  const double positions = static_cast<double>(bench.positions());
  double sum = 0;
  const auto add = [&](const Matrix<double>& x) {
    for (int64_t j = 0; j < change.cols(); ++j) {
      double mean = 0;
      for (int64_t row = 0; row < x.rows(); ++row) mean += x(row, j) * x(row, j) / positions;
      for (int64_t i = 0; i < change.rows(); ++i) sum += mean * change(i, j) * change(i, j);
    }
  };
  if (bench.model().component(id).layer >= 0) add(seen.x[id]);
  if (id == bench.model().head()) add(seen.head_x);
  if (id == 0) {
    for (const int32_t token : seen.tokens) sum += change.row(token).squaredNorm() / positions;
  }
  return sum;
}

TEST(WeightedErrorTest, CostsAreTheDefinition) {
  const std::vector<int64_t> lengths = {21, 1, 40};
  for (const TinyModelOptions& options : CostModels()) {
    const CostBench bench(options, lengths, {kInt4, kFormatF32, kInt2});
    Progress progress;
    const auto scores = ScoreWeightedError(bench.Context(&progress));
    ASSERT_TRUE(scores.ok()) << scores.status();
    CrossEntropy<double> loss(NextTokens(bench.sequences()));
    const SeenProducts seen(bench.model(), bench.sequences(), &loss);
    for (size_t c = 0; c < scores->costs.size(); ++c) {
      const ComponentId id = static_cast<ComponentId>(c);
      const double fine = Definition(bench, seen, id, kInt4);
      const double coarse = Definition(bench, seen, id, kInt2);
      EXPECT_NEAR(scores->costs[c][0], fine, 1e-4 * fine) << bench.model().component(id).name;
      EXPECT_EQ(scores->costs[c][1], 0);
      EXPECT_NEAR(scores->costs[c][2], coarse, 1e-4 * coarse) << bench.model().component(id).name;
      EXPECT_GT(fine, 0);
    }
  }
}

TEST(WeightedErrorTest, TheSameBitsForEveryThreadCount) {
  const CostBench bench(CostModels()[1], std::vector<int64_t>{21, 1, 40}, {kInt4, kInt2});
  Progress progress;
  const auto one = ScoreWeightedError(bench.Context(&progress));
  ASSERT_TRUE(one.ok());
  for (const int threads : {2, 3, 7}) {
    const auto many = ScoreWeightedError(bench.Context(&progress, threads));
    ASSERT_TRUE(many.ok());
    EXPECT_EQ(many->costs, one->costs) << threads;
  }
}

}  // namespace
}  // namespace bitbudget
