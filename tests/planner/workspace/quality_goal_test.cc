#include "planner/workspace/quality_goal.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "tests/support/expect_error.h"

namespace bitbudget {
namespace {

using Measure = QualityGoal::Measure;

QualityGoal Goal(const std::string& text) {
  const absl::StatusOr<QualityGoal> goal = ParseQualityGoal(text);
  EXPECT_TRUE(goal.ok()) << goal.status();
  return goal.ok() ? *goal : QualityGoal();
}

// Probes whose measures vary around these.
Evaluation Probes(double text_kl, double kl, int misses, int fdt, double nll) {
  Evaluation evaluation;
  for (int i = 0; i < 40; ++i) {
    const double spread = 1 + 0.2 * (i % 5 - 2);
    ProbeResult probe;
    probe.tokens = 50;
    probe.fdt = fdt + i % 3 - 1;
    probe.kl_sum = 50 * kl * spread;
    probe.text = {100, misses + i % 3 - 1, 100 * nll * spread, 100 * text_kl * spread};
    evaluation.push_back(probe);
  }
  return evaluation;
}

TEST(QualityGoal, ReadsEveryForm) {
  struct Case {
    const char* text;
    Measure measure;
    double bound;
  };
  for (const Case& c : {Case{"text_kl<=0.01", Measure::kTextKl, 0.01},
                        {"text-kl <= 1e-3", Measure::kTextKl, 0.001},
                        {"kl<=0.02", Measure::kCompletionKl, 0.02},
                        {"top1>=99%", Measure::kTextTop1, 0.99},
                        {"fdt>=50", Measure::kFdt, 50},
                        {"ppl<=+1.5%", Measure::kTextPerplexity, 0.015}}) {
    const QualityGoal goal = Goal(c.text);
    EXPECT_EQ(goal.measure, c.measure) << c.text;
    EXPECT_NEAR(goal.bound, c.bound, 1e-15) << c.text;
    EXPECT_EQ(goal.text, c.text);
  }
}

TEST(QualityGoal, SaysWhichFormsThereAre) {
  for (const char* text : {"",
                           "text_kl",
                           "text_kl<=",
                           "text_kl<=0",
                           "text_kl<=-1",
                           "text_kl>=0.1",
                           "text_kl<=nan",
                           "text_kl<=1e999",
                           "text_kl<=0.01x",
                           "text_kl<0.01",
                           "top1>=99",
                           "top1>=100%",
                           "top1>=0%",
                           "top1<=99%",
                           "fdt<=50",
                           "fdt>=0",
                           "ppl<=1%",
                           "ppl<=+1",
                           "ppl<=12",
                           "sdt<=3"}) {
    ExpectError(
        ParseQualityGoal(text).status(),
        absl::StatusCode::kInvalidArgument,
        {"'" + std::string(text) + "'", "text_kl<=0.01", "top1>=99%", "fdt>=50", "ppl<=+1%"});
  }
}

TEST(QualityGoal, TheWorseEndOfTheIntervalDecides) {
  const Evaluation reference = Probes(0, 0, 1, 50, 2);
  const Evaluation evaluation = Probes(0.02, 0.01, 5, 20, 2.02);
  for (const char* measure : {"text_kl<=", "kl<=", "top1>=", "fdt>=", "ppl<=+"}) {
    const std::string form(measure);
    const bool percent = form == "top1>=" || form == "ppl<=+";
    const bool larger = form.find(">=") != std::string::npos;
    const std::string any = form + (percent ? "1%" : "1");
    const GoalReading reading = ReadGoal(Goal(any), reference, evaluation);
    EXPECT_LT(reading.interval.low, reading.value) << form;
    EXPECT_GT(reading.interval.high, reading.value) << form;
    EXPECT_GT(reading.safe_distance, reading.distance) << form;
    const double worse = larger ? reading.interval.low : reading.interval.high;
    const double scale = percent ? 100 : 1;
    // Just on either side of the worse end; the value itself is within both bounds.
    for (const double shift : {-1e-3, 1e-3}) {
      const double bound = worse * scale * (1 + shift);
      const GoalReading near = ReadGoal(
          Goal(form + std::to_string(bound) + (percent ? "%" : "")), reference, evaluation);
      EXPECT_EQ(near.met, larger == (shift < 0)) << form << bound;
    }
  }
}

TEST(QualityGoal, PerplexityIsComparedWithTheOriginalsOnTheSameProbes) {
  const Evaluation reference = Probes(0, 0, 1, 50, 2);
  // Every probe's perplexity grows by about 2 %, however much probes differ among themselves.
  Evaluation grown = reference;
  for (ProbeResult& probe : grown) probe.text.nll_sum += 100 * std::log(1.02);
  const GoalReading reading = ReadGoal(Goal("ppl<=+2.1%"), reference, grown);
  EXPECT_NEAR(reading.value, 0.02, 1e-9);
  EXPECT_NEAR(reading.interval.low, 0.02, 1e-9);
  EXPECT_NEAR(reading.interval.high, 0.02, 1e-9);
  EXPECT_TRUE(reading.met);
}

TEST(QualityGoal, DistancesAreNeverNegative) {
  EXPECT_GT(Goal("ppl<=+1%").Distance(-0.01), 0);
  EXPECT_GT(Goal("text_kl<=1").Distance(0), 0);
  EXPECT_GT(Goal("top1>=50%").Distance(1), 0);
  EXPECT_TRUE(std::isfinite(Goal("fdt>=5").Distance(0)));
}

}  // namespace
}  // namespace bitbudget
