#include "tools/bench/interleave.h"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "tools/bench/report.h"

namespace bitbudget {
namespace {

TEST(InterleaveTest, EveryRoundCallsAllContestantsInTurn) {
  std::vector<int> calls;
  const std::vector<std::function<void()>> contestants = {[&] { calls.push_back(0); },
                                                          [&] { calls.push_back(1); }};
  const std::vector<Timing> timings =
      Interleave(contestants, {.repetitions = 3, .threads = 2, .min_seconds = 0});
  ASSERT_EQ(timings.size(), 2u);
  EXPECT_EQ(timings[0].size(), 3u);
  EXPECT_EQ(timings[1].size(), 3u);
  // Each twice to warm up and to see how long it takes.
  EXPECT_EQ(calls, (std::vector<int>{0, 0, 1, 1, 0, 1, 0, 1, 0, 1}));
}

TEST(InterleaveTest, StatisticsAreThoseOfTheDefinition) {
  EXPECT_EQ(Median({3, 1, 2}), 2);
  EXPECT_EQ(Median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(RelativeSpread({8, 10, 10, 13, 100}), 0.2);  // deviations 2, 0, 0, 3, 90
  EXPECT_EQ(SpeedRatio({1, 1, 1}, {2, 3, 10}), 3);       // ratios within rounds, then the median
}

TEST(ReportTest, TargetsStandBesideWhatWasMeasured) {
  BenchResult result;
  result.bench = "linear";
  result.path = "F";
  result.format = "f32";
  result.baseline = "sgemm";
  result.ratio = 1.09;
  result.target = 1.1;
  EXPECT_NE(RenderTable({result}).find("missed"), std::string::npos);
  EXPECT_EQ(ToJson(result)["met"], false);
  EXPECT_TRUE(ToJson(result)["m"].is_null());
  result.ratio = 1.1;
  EXPECT_NE(RenderTable({result}).find("met"), std::string::npos);
  EXPECT_EQ(RenderTable({result}).find("missed"), std::string::npos);
  EXPECT_EQ(ToJson(result)["met"], true);
}

}  // namespace
}  // namespace bitbudget
