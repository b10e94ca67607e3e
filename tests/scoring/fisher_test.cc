#include "scoring/fisher.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/scoring/cost_bench.h"

namespace bitbudget {
namespace {

constexpr Format kInt4{FormatKind::kInteger, 4, 32, false};
constexpr Format kInt2{FormatKind::kInteger, 2, 32, false};

// The diagonals by their definition in double: sequences one by one, each gradient formed whole.
std::vector<Matrix<double>> Definition(const CostBench& bench) {
  const Model& model = bench.model();
  std::vector<Matrix<double>> sums;
  for (const Component& component : model.components()) {
    sums.push_back(Matrix<double>::Zero(component.rows, component.cols));
  }
  uint64_t first_row = 0;
  for (const std::vector<int32_t>& sequence : bench.sequences()) {
    SampledLabels<double> labels(CostBench::kSeed, first_row);
    const SeenProducts seen(model, {&sequence, 1}, &labels);
    first_row += sequence.size();
    for (size_t c = 0; c < sums.size(); ++c) {
      sums[c] += seen.Gradient(static_cast<ComponentId>(c)).cwiseAbs2() /
                 static_cast<double>(bench.positions());
    }
  }
  return sums;
}

TEST(FisherTest, DiagonalsAndCostsAreTheDefinition) {
  const std::vector<int64_t> lengths = {21, 1, 40, 30, 60};  // one ends past a part of the head
  for (const TinyModelOptions& options : CostModels()) {
    const CostBench bench(options, lengths, {kInt4, kFormatF32, kInt2});
    const std::vector<Matrix<double>> wanted = Definition(bench);
    Progress progress;
    std::vector<int> given(wanted.size());
    const auto check = [&](ComponentId id, const Matrix<float>& diagonal) {
      ++given[id];
      const double error = (diagonal.cast<double>() - wanted[id]).norm();
      EXPECT_LT(error, 1e-4 * wanted[id].norm()) << bench.model().component(id).name;
      return absl::OkStatus();
    };
    ASSERT_TRUE(MeasureFisher(bench.Context(&progress), check).ok());
    EXPECT_EQ(given, std::vector<int>(wanted.size(), 1));
    const auto scores = ScoreFisher(bench.Context(&progress));
    ASSERT_TRUE(scores.ok()) << scores.status();
    for (size_t c = 0; c < wanted.size(); ++c) {
      const auto cost = [&](const Format& format) {
        const Matrix<double> change = bench.Change(static_cast<ComponentId>(c), format);
        return 0.5 * change.cwiseAbs2().cwiseProduct(wanted[c]).sum();
      };
      EXPECT_NEAR(scores->costs[c][0], cost(kInt4), 1e-4 * cost(kInt4));
      EXPECT_EQ(scores->costs[c][1], 0);
      EXPECT_NEAR(scores->costs[c][2], cost(kInt2), 1e-4 * cost(kInt2));
    }
  }
}

TEST(FisherTest, TheSameBitsForEveryThreadCount) {
  const std::vector<int64_t> lengths = {21, 1, 40};
  const CostBench bench(CostModels()[1], lengths, {kInt4});
  Progress progress;
  const auto one = ScoreFisher(bench.Context(&progress));
  ASSERT_TRUE(one.ok());
  for (const int threads : {2, 3, 7}) {
    const auto many = ScoreFisher(bench.Context(&progress, threads));
    ASSERT_TRUE(many.ok());
    EXPECT_EQ(many->costs, one->costs) << threads;
  }
}

TEST(FisherTest, AnErrorOfTheTakerEndsThePass) {
  const std::vector<int64_t> lengths = {7};
  const CostBench bench(TinyModelOptions(), lengths, {kInt4});
  Progress progress;
  int given = 0;
  const absl::Status status =
      MeasureFisher(bench.Context(&progress), [&](ComponentId, const Matrix<float>&) {
        ++given;
        return absl::ResourceExhaustedError("full");
      });
  EXPECT_EQ(status.message(), "full");
  EXPECT_EQ(given, 1);
}

}  // namespace
}  // namespace bitbudget
