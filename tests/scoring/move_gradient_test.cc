#include "scoring/move_gradient.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "tests/scoring/cost_bench.h"

namespace bitbudget {
namespace {

constexpr Format kInt8{FormatKind::kInteger, 8, 32, false};
constexpr Format kInt4{FormatKind::kInteger, 4, 32, false};

struct Moved {
  FormatCosts costs;
  double loss = 0;  // mean divergence of the incumbent over all rows
};

Moved Move(const CostBench& bench,
           const Assignment& incumbent,
           std::span<const float> weights,
           int threads = 1) {
  Progress progress;
  ScoreContext context = bench.Context(&progress, threads);
  context.row_weights = weights;
  const auto original = OriginalOutputs::Create(bench.model(), bench.sequences(), 1, &progress);
  EXPECT_TRUE(original.ok()) << original.status();
  const auto costs = MoveGradients(context, incumbent, **original);
  EXPECT_TRUE(costs.ok()) << costs.status();
  EncodedModel encoded;
  for (size_t c = 0; c < incumbent.size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    if (incumbent[c] == context.bank->StoredFormat(id)) continue;
    encoded.encodings[id] = *context.bank->Encoded({id, incumbent[c]});
  }
  const auto loss = MeanDivergence(
      bench.model(), encoded, bench.sequences(), **original, /*token_bits=*/0, 1, &progress);
  EXPECT_TRUE(loss.ok()) << loss.status();
  return {*costs, *loss};
}

Assignment Everywhere(const CostBench& bench, const Format& format) {
  return Assignment(bench.model().components().size(), format);
}

// Near its minimum the divergence is a quadratic form of the errors e, of which <gradient, -e> is
// -2 times the value (Euler): so the moves of all components to their stored weights add up to it.
TEST(MoveGradients, AllMovesBackAddUpToTwiceTheLoss) {
  for (const TinyModelOptions& options : CostModels()) {
    TinyModelOptions stored = options;
    stored.dtype = kFormatF32;
    const CostBench bench(stored, std::vector<int64_t>{21, 2, 40, 30}, {kInt8, kFormatF32});
    const std::vector<float> weights(static_cast<size_t>(bench.positions()), 1);
    const Moved moved = Move(bench, Everywhere(bench, kInt8), weights);
    double sum = 0;
    for (const std::vector<double>& row : moved.costs) {
      EXPECT_EQ(row[0], 0);  // its own choice
      sum += row[1];
    }
    EXPECT_GT(moved.loss, 0);
    EXPECT_NEAR(sum, -2 * moved.loss, 0.05 * moved.loss);
  }
}

TEST(MoveGradients, RowsCountByTheirWeights) {
  const TinyModelOptions options = CostModels()[0];
  const std::vector<int64_t> lengths = {21, 30};
  const CostBench both(options, lengths, {kInt8, kInt4});
  const CostBench one(options, std::vector<int64_t>{21}, {kInt8, kInt4});
  std::vector<float> first(51, 0);
  std::fill(first.begin(), first.begin() + 21, 3.0f);
  const Moved of_both = Move(both, Everywhere(both, kInt4), first);
  const Moved of_one = Move(one, Everywhere(one, kInt4), std::vector<float>(21, 1));
  for (size_t c = 0; c < of_one.costs.size(); ++c) {
    EXPECT_NEAR(of_both.costs[c][0], of_one.costs[c][0], 1e-3 * std::abs(of_one.costs[c][0]) + 1e-9)
        << both.model().components()[c].name;
  }
}

TEST(MoveGradients, DoNotDependOnThreads) {
  const CostBench bench(CostModels()[1], std::vector<int64_t>{21, 30, 5}, {kInt8, kInt4});
  const std::vector<float> weights(56, 1);
  EXPECT_EQ(Move(bench, Everywhere(bench, kInt4), weights, 1).costs,
            Move(bench, Everywhere(bench, kInt4), weights, 3).costs);
}

}  // namespace
}  // namespace bitbudget
