#include "scoring/token_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "tests/scoring/cost_bench.h"

namespace bitbudget {
namespace {

// More tokens than one batch takes, which ends within a sequence.
std::vector<int64_t> Lengths() {
  std::vector<int64_t> lengths = {21, 1, 40};
  while (std::accumulate(lengths.begin(), lengths.end(), int64_t{0}) <= kTokenWeightBatch + 120) {
    lengths.push_back(60);
  }
  return lengths;
}

// Squared norms of the gradients by outputs, in double and one sequence at a time.
std::vector<std::vector<double>> Definition(const CostBench& bench) {
  const Model& model = bench.model();
  std::vector<std::vector<double>> norms(model.components().size());
  uint64_t first_row = 0;
  for (const std::vector<int32_t>& sequence : bench.sequences()) {
    SampledLabels<double> labels(CostBench::kSeed, first_row);
    const SeenProducts seen(model, {&sequence, 1}, &labels);
    first_row += sequence.size();
    for (size_t c = 0; c < norms.size(); ++c) {
      const bool head = static_cast<ComponentId>(c) == model.head();
      const Matrix<double>& gradients = head ? seen.head_d : seen.d_y[c];
      for (int64_t row = 0; row < gradients.rows(); ++row) {
        norms[c].push_back(gradients.row(row).squaredNorm());
      }
    }
  }
  return norms;
}

TEST(TokenWeights, AreSquaredOutputGradientsOverTheirMean) {
  for (const TinyModelOptions& options : CostModels()) {
    const std::vector<int64_t> lengths = options.tied ? Lengths() : std::vector<int64_t>{21, 1, 40};
    const CostBench bench(options, lengths, {});
    Progress progress;
    const auto weights = MeasureTokenWeights(bench.Context(&progress));
    ASSERT_TRUE(weights.ok()) << weights.status();
    const std::vector<std::vector<double>> norms = Definition(bench);
    for (size_t c = 0; c < norms.size(); ++c) {
      const ComponentId id = static_cast<ComponentId>(c);
      const bool looked_up = id == 0 && bench.model().head() != 0;
      ASSERT_EQ(weights->count(id), looked_up ? 0 : 1);
      if (looked_up) continue;
      const std::vector<float>& found = weights->at(id);
      ASSERT_EQ(found.size(), norms[c].size());
      const double mean = std::accumulate(norms[c].begin(), norms[c].end(), 0.0) /
                          static_cast<double>(norms[c].size());
      ASSERT_GT(mean, 0);
      double error = 0;
      double size = 0;
      for (size_t i = 0; i < found.size(); ++i) {
        error += std::pow(found[i] - norms[c][i] / mean, 2);
        size += std::pow(norms[c][i] / mean, 2);
      }
      EXPECT_LT(std::sqrt(error), 1e-4 * std::sqrt(size)) << bench.model().component(id).name;
    }
  }
}

TEST(TokenWeights, TheSameBitsForEveryThreadCount) {
  const std::vector<int64_t> lengths = Lengths();
  const CostBench bench(CostModels()[1], lengths, {});
  Progress progress;
  const auto one = MeasureTokenWeights(bench.Context(&progress));
  ASSERT_TRUE(one.ok());
  for (const int threads : {2, 5}) {
    const auto many = MeasureTokenWeights(bench.Context(&progress, threads));
    ASSERT_TRUE(many.ok());
    EXPECT_EQ(*many, *one) << threads;
  }
}

// A sequence's weights but for the mean are those it has alone.
TEST(TokenWeights, BatchesChangeNothing) {
  const std::vector<int64_t> all = Lengths();
  const std::vector<int64_t> some(all.begin(), all.begin() + 6);
  const CostBench many(TinyModelOptions(), all, {});
  const CostBench few(TinyModelOptions(), some, {});
  Progress progress;
  const auto of_many = MeasureTokenWeights(many.Context(&progress));
  const auto of_few = MeasureTokenWeights(few.Context(&progress));
  ASSERT_TRUE(of_many.ok() && of_few.ok());
  for (const auto& [id, weights] : *of_few) {
    const std::vector<float>& other = of_many->at(id);
    for (size_t i = 1; i < weights.size(); ++i) {
      EXPECT_NEAR(weights[i] * other[0], weights[0] * other[i], 1e-5 * weights[0] * other[i]);
    }
  }
}

TEST(TokenWeights, CanBeInterrupted) {
  class Stop : public Progress {
    bool Interrupted() const override { return true; }
  } stop;
  const std::vector<int64_t> lengths = {7, 9};
  const CostBench bench(TinyModelOptions(), lengths, {});
  EXPECT_TRUE(absl::IsCancelled(MeasureTokenWeights(bench.Context(&stop)).status()));
}

}  // namespace
}  // namespace bitbudget
