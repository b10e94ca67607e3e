#include "planner/jobs/goal_sizes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

namespace bitbudget {
namespace {

constexpr int64_t kSmallest = 1000;
constexpr int64_t kLargest = 9000;

// Measures until the curve is known around `distance`; returns how often.
int Measure(const std::function<double(int64_t)>& curve, double distance, GoalSizes* sizes) {
  int count = 0;
  while (const std::optional<int64_t> next = sizes->NextToMeasure(distance)) {
    EXPECT_GE(*next, kSmallest);
    EXPECT_LE(*next, kLargest);
    sizes->Add(*next, curve(*next));
    if (++count == 100) ADD_FAILURE() << "does not end";
    if (count == 100) break;
  }
  return count;
}

double Exponential(int64_t bytes) { return 8 * std::exp2(-static_cast<double>(bytes) / 800); }

TEST(GoalSizes, FindsASizeInFewMeasurements) {
  for (const double distance : {3.0, 0.5, 0.01, 0.005}) {
    GoalSizes sizes(kSmallest, kLargest);
    EXPECT_LE(Measure(Exponential, distance, &sizes), 8) << distance;
    const double exact = 800 * std::log2(8 / distance);
    EXPECT_NEAR(static_cast<double>(sizes.SizeFor(distance)), exact, 2) << distance;
    EXPECT_NEAR(sizes.DistanceAt(sizes.SizeFor(distance)), distance, 0.01 * distance);
  }
}

TEST(GoalSizes, CurvesThatAreNotStraightTakeAFewMore) {
  // Steps, and a curve that falls ever more slowly.
  const auto steps = [](int64_t bytes) { return bytes < 4000 ? 1.0 : bytes < 6500 ? 0.1 : 0.02; };
  const auto slow = [](int64_t bytes) { return 1e6 / static_cast<double>(bytes * bytes); };
  for (const double distance : {0.5, 0.05}) {
    GoalSizes sizes(kSmallest, kLargest);
    EXPECT_LE(Measure(steps, distance, &sizes), 40);
    const double exact = distance > 0.1 ? 4000 : 6500;
    EXPECT_NEAR(static_cast<double>(sizes.SizeFor(distance)), exact, 0.02 * exact);
    GoalSizes slower(kSmallest, kLargest);
    EXPECT_LE(Measure(slow, distance, &slower), 12);
    EXPECT_NEAR(static_cast<double>(slower.SizeFor(distance)),
                1e3 / std::sqrt(distance),
                0.02 * 1e3 / std::sqrt(distance));
  }
}

TEST(GoalSizes, OutsideOfTheCurveItsEndsStand) {
  GoalSizes sizes(kSmallest, kLargest);
  EXPECT_EQ(Measure(Exponential, 1e-9, &sizes), 1);  // the largest misses it: no need to look on
  EXPECT_EQ(sizes.SizeFor(1e-9), kLargest);
  EXPECT_EQ(Measure(Exponential, 100, &sizes), 1);  // the smallest has it
  EXPECT_EQ(sizes.SizeFor(100), kSmallest);
  EXPECT_EQ(sizes.DistanceAt(kSmallest - 1), Exponential(kSmallest));
  EXPECT_EQ(sizes.DistanceAt(kLargest + 1), Exponential(kLargest));
}

TEST(GoalSizes, ASizeIsTakenOnlyWhereAllLargerOnesHaveTheDistanceToo) {
  GoalSizes sizes(kSmallest, kLargest);
  sizes.Add(kSmallest, 5);
  sizes.Add(3000, 0.5);  // by chance
  sizes.Add(4000, 2);
  sizes.Add(kLargest, 0.1);
  EXPECT_GT(sizes.SizeFor(1), 4000);
}

}  // namespace
}  // namespace bitbudget
