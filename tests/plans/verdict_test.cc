#include "plans/verdict.h"

#include <gtest/gtest.h>

#include <string>

#include "absl/strings/match.h"
#include "tests/plans/small_plan.h"

namespace bitbudget {
namespace {

void Set(double low, double high, plans::Interval* interval) {
  interval->set_low(low);
  interval->set_high(high);
}

// A comparison with these differences; the result has KL 0.1 below 0.2 and FDT 12 above 8.
plans::Plan Compared() {
  plans::Plan plan = SmallPlan(1);
  plans::HeldOut& held_out = *plan.mutable_held_out();
  held_out.set_uniform_format("int4-g64");
  held_out.mutable_plan()->set_kl_mean(0.1);
  held_out.mutable_uniform()->set_kl_mean(0.2);
  held_out.mutable_plan()->set_fdt_mean(12);
  held_out.mutable_uniform()->set_fdt_mean(8);
  held_out.mutable_plan_text()->set_kl_mean(0.3);
  held_out.mutable_uniform_text()->set_kl_mean(0.2);
  Set(-0.12, -0.08, held_out.mutable_kl_difference());
  Set(-1, 9, held_out.mutable_fdt_difference());
  Set(-0.05, 0.2, held_out.mutable_text_kl_difference());
  return plan;
}

TEST(Verdict, NamesWhatIsBetterAndWhatIsNoise) {
  plans::Plan plan = Compared();
  EXPECT_EQ(Verdict(plan),
            "better than uniform int4-g64: KL 50 % lower; text KL, FDT within noise");
  Set(1, 9, plan.mutable_held_out()->mutable_fdt_difference());
  EXPECT_EQ(Verdict(plan),
            "better than uniform int4-g64: KL 50 % lower, FDT 4.0 tokens later; text KL within "
            "noise");
}

TEST(Verdict, SaysWhereOneIsGivenForTheOther) {
  plans::Plan plan = Compared();
  Set(0.05, 0.2, plan.mutable_held_out()->mutable_text_kl_difference());
  EXPECT_EQ(Verdict(plan),
            "mixed, against uniform int4-g64: KL 50 % lower, but text KL 50 % higher; "
            "FDT within noise");
  Set(-0.08, 0.12, plan.mutable_held_out()->mutable_kl_difference());
  EXPECT_EQ(Verdict(plan),
            "worse than uniform int4-g64: text KL 50 % higher; KL, FDT within noise");
}

TEST(Verdict, NoiseIsNoVictory) {
  plans::Plan plan = Compared();
  Set(-0.12, 0, plan.mutable_held_out()->mutable_kl_difference());
  EXPECT_TRUE(
      absl::StartsWith(Verdict(plan), "no significant difference from uniform int4-g64 on "));
}

TEST(Verdict, WithoutAComparisonThereIsNone) {
  plans::Plan plan = Compared();
  plan.mutable_held_out()->clear_uniform();
  EXPECT_EQ(Verdict(plan), "");
  plan.clear_held_out();
  EXPECT_EQ(Verdict(plan), "");
}

}  // namespace
}  // namespace bitbudget
