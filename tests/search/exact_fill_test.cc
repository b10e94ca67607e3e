#include "search/exact_fill.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "runtime/base/random.h"
#include "tests/support/synthetic_evaluator.h"

namespace bitbudget {
namespace {

using testing::ForEveryFitting;

// Costs are multiples of 2^-10 below 64, so sums are exact and optima can be compared with ==.
double Dyadic(Random& random) { return static_cast<double>(random.Below(1 << 16)) / 1024; }

double Sum(const CostTable& cost, const Selection& selection) {
  double sum = 0;
  for (size_t c = 0; c < selection.size(); ++c) sum += cost[c][selection[c]];
  return sum;
}

// How choices relate: anything goes, larger is cheaper, or all components alike (many ties).
enum class Shape { kArbitrary, kFalling, kAlike };

struct Instance {
  SearchProblem problem;
  CostTable cost;
};

Instance MakeInstance(uint64_t seed, int components, int choices, Shape shape, double fill) {
  Random random(seed, {static_cast<uint64_t>(shape)});
  Instance instance;
  SearchProblem& problem = instance.problem;
  int64_t largest = 0;
  for (int c = 0; c < components; ++c) {
    std::vector<Choice> ladder;
    std::vector<double> cost;
    int64_t bytes = 10 + static_cast<int64_t>(random.Below(50));
    double level = 64;
    for (int i = 0; i < choices; ++i) {
      ladder.push_back({kFormatF32, bytes});
      bytes += static_cast<int64_t>(random.Below(100));
      level -= std::floor(level * 512 * random.Uniform()) / 1024;
      cost.push_back(shape == Shape::kFalling ? level : Dyadic(random) - 20);
    }
    if (shape == Shape::kAlike && c > 0) {
      ladder = problem.ladders[0];
      cost = instance.cost[0];
    }
    largest += ladder.back().bytes;
    problem.components.emplace_back();
    problem.ladders.push_back(ladder);
    instance.cost.push_back(cost);
  }
  problem.fixed_bytes = 1000;
  const int64_t smallest = problem.SmallestBytes();
  problem.limit = ByteBudget{
      smallest + static_cast<int64_t>(fill * static_cast<double>(largest + 1000 - smallest))};
  return instance;
}

TEST(MinimizeSumTest, EqualsBruteForceOnEveryInstanceAndProvesIt) {
  int instances = 0;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    for (const Shape shape : {Shape::kArbitrary, Shape::kFalling, Shape::kAlike}) {
      for (const double fill : {0.0, 0.1, 0.3, 0.5, 0.8, 1.0}) {
        const Instance instance = MakeInstance(seed, 6, 4, shape, fill);
        double least = std::numeric_limits<double>::infinity();
        int64_t least_bytes = 0;
        ForEveryFitting(instance.problem, [&](const Selection& selection) {
          const double sum = Sum(instance.cost, selection);
          const int64_t bytes = instance.problem.TotalBytes(selection);
          if (sum < least || (sum == least && bytes < least_bytes)) {
            least = sum;
            least_bytes = bytes;
          }
        });
        const FillResult result = FillBudget(instance.problem, instance.cost);
        ASSERT_FALSE(result.selection.empty());
        EXPECT_TRUE(instance.problem.Fits(result.selection));
        EXPECT_EQ(result.cost, least);
        EXPECT_EQ(Sum(instance.cost, result.selection), least);
        EXPECT_EQ(instance.problem.TotalBytes(result.selection), least_bytes);
        EXPECT_TRUE(result.proven);
        EXPECT_EQ(MinimizeSum(instance.problem, instance.cost), result.selection);
        ++instances;
      }
    }
  }
  EXPECT_EQ(instances, 720);
}

// The textbook table over bytes, as an independent optimum for problems too large to enumerate.
double TableOptimum(const Instance& instance) {
  const SearchProblem& problem = instance.problem;
  const int64_t budget = problem.MaxBytes() - problem.fixed_bytes;
  const double infinity = std::numeric_limits<double>::infinity();
  std::vector<double> best(budget + 1, 0.0);  // [bytes] over the components so far
  for (int c = 0; c < problem.size(); ++c) {
    std::vector<double> next(budget + 1, infinity);
    for (size_t i = 0; i < problem.ladders[c].size(); ++i) {
      const int64_t bytes = problem.ladders[c][i].bytes;
      for (int64_t b = bytes; b <= budget; ++b) {
        next[b] = std::min(next[b], best[b - bytes] + instance.cost[c][i]);
      }
    }
    best = std::move(next);
  }
  return best[budget];
}

TEST(MinimizeSumTest, EqualsTheTableOverBytesOnLargerProblems) {
  for (uint64_t seed = 0; seed < 8; ++seed) {
    for (const Shape shape : {Shape::kArbitrary, Shape::kFalling, Shape::kAlike}) {
      for (const double fill : {0.07, 0.3, 0.6}) {
        const Instance instance = MakeInstance(seed, 40, 7, shape, fill);
        const FillResult result = FillBudget(instance.problem, instance.cost);
        EXPECT_EQ(result.cost, TableOptimum(instance));
        EXPECT_TRUE(result.proven);
        EXPECT_TRUE(instance.problem.Fits(result.selection));
      }
    }
  }
}

// A model of 300 matrices of seven shapes with nine formats: the shape of a real problem.
TEST(MinimizeSumTest, ProvesTheOptimumAtRealSize) {
  for (uint64_t seed = 0; seed < 5; ++seed) {
    Random random(seed);
    SearchProblem problem;
    CostTable cost;
    const double bits[] = {2.25, 3.25, 4.125, 4.25, 4.5, 4.625, 8, 8.5, 16};
    int64_t largest = 0;
    for (int c = 0; c < 300; ++c) {
      const int64_t weights = (c % 7 < 4 ? 1024 : 2816) * 1024 * (c % 7 == 1 ? 4 : 1);
      std::vector<Choice> ladder;
      std::vector<double> row;
      const double sensitivity = std::exp(6 * random.Uniform());
      for (const double b : bits) {
        ladder.push_back({kFormatF32, static_cast<int64_t>(b * static_cast<double>(weights) / 8)});
        row.push_back(sensitivity * std::exp2(-2 * b) * (0.8 + 0.4 * random.Uniform()));
      }
      largest += ladder.back().bytes;
      problem.components.emplace_back();
      problem.ladders.push_back(ladder);
      cost.push_back(row);
    }
    for (const double fill : {0.05, 0.2, 0.5}) {
      problem.limit = ByteBudget{
          static_cast<int64_t>(fill * static_cast<double>(largest) +
                               (1 - fill) * static_cast<double>(problem.SmallestBytes()))};
      const FillResult result = FillBudget(problem, cost);
      ASSERT_FALSE(result.selection.empty());
      EXPECT_TRUE(problem.Fits(result.selection));
      EXPECT_TRUE(result.proven);
    }
  }
}

TEST(MinimizeSumTest, IsEmptyWhenNothingFits) {
  Instance instance = MakeInstance(1, 5, 3, Shape::kArbitrary, 0.0);
  EXPECT_FALSE(MinimizeSum(instance.problem, instance.cost).empty());
  instance.problem.limit = ByteBudget{instance.problem.MaxBytes() - 1};
  EXPECT_TRUE(MinimizeSum(instance.problem, instance.cost).empty());
}

TEST(MinimizeSumTest, InfiniteAndNanCostsAreNeverChosen) {
  Instance instance = MakeInstance(2, 5, 3, Shape::kArbitrary, 0.7);
  const Selection first = MinimizeSum(instance.problem, instance.cost);
  for (int c = 0; c < 5; ++c) {
    instance.cost[c][first[c]] = c % 2 == 0 ? std::numeric_limits<double>::infinity()
                                            : std::numeric_limits<double>::quiet_NaN();
  }
  const Selection second = MinimizeSum(instance.problem, instance.cost);
  ASSERT_FALSE(second.empty());
  for (int c = 0; c < 5; ++c) EXPECT_NE(first[c], second[c]);
  for (double& cost : instance.cost[3]) cost = std::numeric_limits<double>::infinity();
  EXPECT_TRUE(MinimizeSum(instance.problem, instance.cost).empty());
}

TEST(LowerHullTest, KeepsTheConvexFallingPart) {
  const std::vector<Choice> ladder = {
      {kFormatF32, 10}, {kFormatF32, 20}, {kFormatF32, 30}, {kFormatF32, 40}, {kFormatF32, 50}};
  // 20 is above the line from 10 to 30; 50 is larger and worse than 40.
  EXPECT_EQ(LowerHull(ladder, {9, 7, 3, 1, 2}), (std::vector<int>{0, 2, 3}));
  EXPECT_EQ(LowerHull(ladder, {1, 1, 1, 1, 1}), (std::vector<int>{0}));
}

}  // namespace
}  // namespace bitbudget
