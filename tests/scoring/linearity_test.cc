#include "scoring/linearity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <iterator>
#include <vector>

#include "tests/scoring/cost_bench.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

constexpr Format kInt4{FormatKind::kInteger, 4, 32, false};
constexpr Format kInt2{FormatKind::kInteger, 2, 32, false};

// The coefficient by the definition, in double: the divergences of the whole model with this noise,
// and the line through the origin that is closest to them.
double Alpha(const CostBench& bench, ComponentId id, const Eigen::VectorXd& weights) {
  const Matrix<double> stored = ReadMatrix(bench.model(), id).cast<double>();
  const Matrix<double> none = Matrix<double>::Zero(stored.rows(), stored.cols());
  const Matrix<double> reference = LogProbabilities(bench, id, none);
  double up = 0;
  double down = 0;
  for (size_t level = 0; level < std::size(kLinearityNoise); ++level) {
    Random random(CostBench::kSeed, {0x6e6f6973, static_cast<uint64_t>(id), level});
    Matrix<double> noise = none;
    for (int64_t i = 0; i < noise.size(); ++i) noise.data()[i] = random.Normal();
    noise *= std::sqrt(kLinearityNoise[level]) * stored.norm() / noise.norm();
    up += kLinearityNoise[level] * MeanKl(reference, LogProbabilities(bench, id, noise), weights);
    down += kLinearityNoise[level] * kLinearityNoise[level];
  }
  return up / down;
}

double RelativeError(const CostBench& bench, ComponentId id, const Format& format) {
  const Matrix<double> stored = ReadMatrix(bench.model(), id).cast<double>();
  return bench.Change(id, format).squaredNorm() / stored.squaredNorm();
}

TEST(LinearityTest, CostsAreTheDefinitionWithAndWithoutWeightsOfRows) {
  const std::vector<int64_t> lengths = {21, 1, 10};
  std::vector<float> weights(32, 1);
  for (size_t row = 0; row < weights.size(); row += 3) weights[row] = 0;
  weights[7] = 2;
  for (const TinyModelOptions& options : CostModels()) {
    const CostBench bench(options, lengths, {kInt4, kFormatF32, kInt2});
    for (const bool weighted : {false, true}) {
      Progress progress;
      ScoreContext context = bench.Context(&progress);
      if (weighted) context.row_weights = weights;
      const auto scores = ScoreLinearity(context);
      ASSERT_TRUE(scores.ok()) << scores.status();
      Eigen::VectorXd by_row = Eigen::VectorXd::Ones(32);
      for (int64_t row = 0; row < 32 && weighted; ++row) by_row[row] = weights[row];
      for (size_t c = 0; c < scores->costs.size(); ++c) {
        const ComponentId id = static_cast<ComponentId>(c);
        const double alpha = Alpha(bench, id, by_row);
        const double fine = alpha * RelativeError(bench, id, kInt4);
        const double coarse = alpha * RelativeError(bench, id, kInt2);
        EXPECT_NEAR(scores->costs[c][0], fine, 2e-3 * fine) << bench.model().component(id).name;
        EXPECT_EQ(scores->costs[c][1], 0);
        EXPECT_NEAR(scores->costs[c][2], coarse, 2e-3 * coarse);
        EXPECT_GT(fine, 0);
      }
    }
  }
}

TEST(LinearityTest, TheSameBitsForEveryThreadCount) {
  const CostBench bench(CostModels()[1], std::vector<int64_t>{21, 1, 40}, {kInt4, kInt2});
  Progress progress;
  const auto one = ScoreLinearity(bench.Context(&progress));
  ASSERT_TRUE(one.ok());
  for (const int threads : {2, 3, 7}) {
    const auto many = ScoreLinearity(bench.Context(&progress, threads));
    ASSERT_TRUE(many.ok());
    EXPECT_EQ(many->costs, one->costs) << threads;
  }
}

TEST(LinearityTest, StopsWhenItIsInterrupted) {
  struct Stop : Progress {
    bool Interrupted() const override { return ++asked > after; }
    mutable int asked = 0;
    int after = 0;
  } stop;
  const CostBench bench(TinyModelOptions(), std::vector<int64_t>{21}, {kInt4});
  for (const int after : {0, 2, 9}) {
    stop.asked = 0;
    stop.after = after;
    EXPECT_TRUE(absl::IsCancelled(ScoreLinearity(bench.Context(&stop)).status())) << after;
  }
}

}  // namespace
}  // namespace bitbudget
