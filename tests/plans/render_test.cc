#include "plans/render.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "plans/text_table.h"
#include "runtime/base/mapped_file.h"
#include "tests/plans/small_plan.h"

namespace bitbudget {
namespace {

// Set BITBUDGET_UPDATE_GOLDEN=1 to write the golden file after a deliberate change.
void ExpectGolden(const std::string& text, const std::string& name) {
  const std::string path = std::string(BITBUDGET_PLANS_TEST_DATA) + "/" + name;
  if (getenv("BITBUDGET_UPDATE_GOLDEN") != nullptr) std::ofstream(path) << text;
  const auto golden = ReadFile(path);
  ASSERT_TRUE(golden.ok()) << golden.status();
  EXPECT_EQ(text, *golden);
}

std::string Diff(const plans::Plan& a, const plans::Plan& b) {
  const auto text = RenderDiff(a, "a.pb", b, "b.pb");
  EXPECT_TRUE(text.ok()) << text.status();
  return text.ok() ? *text : "";
}

TEST(RenderPlanTest, MatchesTheGoldenText) {
  ExpectGolden(RenderPlan(SmallPlan(2)), "golden_plan.txt");
}

TEST(RenderPlanTest, ARecoveryMatchesTheGoldenText) {
  const plans::Plan plan = RecoveredSmallPlan(2);
  ExpectGolden(RenderRecovery(plan), "golden_recovery.txt");
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), RenderRecovery(plan)));
  EXPECT_EQ(RenderRecovery(SmallPlan(2)), "");
  // What the search measured is not what the plan is now.
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "plan, not recovered"));
  EXPECT_FALSE(absl::StrContains(RenderPlan(SmallPlan(2)), "recovered"));
}

TEST(RenderPlanTest, SaysThatARecoveryEndedEarly) {
  plans::Plan plan = RecoveredSmallPlan(2);
  EXPECT_FALSE(absl::StrContains(RenderPlan(plan), "WARNING"));
  plan.mutable_recovery()->mutable_passes(0)->set_complete(false);
  plan.mutable_recovery()->mutable_passes(0)->clear_held_out();
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "the recovery ended early"));
}

TEST(RenderDiffTest, ShowsWhatARecoveryChanged) {
  const plans::Plan before = SmallPlan(2);
  const plans::Plan after = RecoveredSmallPlan(2);
  const std::string text = Diff(before, after);
  EXPECT_TRUE(absl::StrContains(text, "b.pb: greedy for fdt, recovered,")) << text;
  EXPECT_TRUE(absl::StrContains(text, "int4-g64 clip, recovered")) << text;
  EXPECT_FALSE(absl::StrContains(text, "v_proj")) << text;  // stays as it is stored
  EXPECT_TRUE(absl::StrContains(text, "14 of 16 components differ, 0 bytes")) << text;
  // The metrics beside the old plan's are those of the recovery.
  EXPECT_TRUE(absl::StrContains(text, "0.00781")) << text;
  // Codes of two recoveries differ where their hashes do.
  EXPECT_TRUE(absl::StrContains(Diff(after, after), "0 of 16 components differ"));
  plans::Plan other = after;
  other.mutable_components(1)->set_encoding_sha256(std::string(64, 'e'));
  EXPECT_TRUE(absl::StrContains(Diff(after, other), "1 of 16 components differ"));
}

TEST(RenderPlanTest, OneLinePerLayerAndNoLongLines) {
  for (const int layers : {1, 32, 100}) {
    const plans::Plan plan = SmallPlan(layers);
    const std::string text = RenderPlan(plan);
    int rows = 0;
    for (const absl::string_view line : absl::StrSplit(text, '\n')) {
      EXPECT_LE(line.size(), 110u) << line;
      EXPECT_FALSE(absl::EndsWith(line, " ")) << line;
      rows += absl::StrContains(line, " bf16 ") && !absl::StrContains(line, "%");
    }
    EXPECT_EQ(rows, layers);
  }
}

TEST(RenderPlanTest, SaysWhichDifferencesAreSignificant) {
  plans::Plan plan = SmallPlan(1);
  const auto fdt = plan.mutable_held_out()->mutable_fdt_difference();
  const auto kl = plan.mutable_held_out()->mutable_kl_difference();
  const auto set = [&](double low, double high) {
    for (plans::Interval* interval : {fdt, kl}) {
      interval->set_low(low);
      interval->set_high(high);
    }
  };
  set(0.5, 1);
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "tokens: better than uniform"));
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "nats: worse than uniform"));
  set(-1, -0.5);
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "tokens: worse than uniform"));
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "nats: better than uniform"));
  set(0, 0.5);
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "tokens: no significant difference"));
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "nats: no significant difference"));
}

TEST(RenderPlanTest, WarnsAboutInterruptedAndUniformPlans) {
  plans::Plan plan = SmallPlan(1);
  EXPECT_FALSE(absl::StrContains(RenderPlan(plan), "WARNING"));
  plan.set_complete(false);
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "WARNING     the search was interrupted"));
  plan.set_complete(true);
  plan.mutable_held_out()->set_uniform_emitted(true);
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "nothing better than uniform"));
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "search's result minus uniform"));
}

TEST(RenderPlanTest, SaysWhatWasNotMeasured) {
  plans::Plan plan = SmallPlan(1);
  plan.mutable_held_out()->clear_uniform();
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "none to compare with"));
  plan.clear_held_out();
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "held out    not measured"));
}

TEST(RenderPlanTest, SaysWhatWasMeasuredAlongText) {
  plans::Plan plan = SmallPlan(1);
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "along the prompts, all tokens from the 17th"));
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "text KL [-0.05000, -0.02500] nats: better"));
  plan.mutable_options()->set_probe_source("model");
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "prompts, which the model sampled, all tokens"));
  // As earlier versions wrote it, for one column or both.
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "text KL 99.9 %, nats"));
  plan.mutable_held_out()->mutable_plan_text()->clear_kl_999();
  EXPECT_TRUE(absl::StrContains(RenderPlan(plan), "text KL 99.9 %, nats"));
  plan.mutable_held_out()->mutable_uniform_text()->clear_kl_999();
  EXPECT_FALSE(absl::StrContains(RenderPlan(plan), "99.9"));
  plan.mutable_held_out()->clear_plan_text();
  plan.mutable_held_out()->clear_uniform_text();
  plan.mutable_held_out()->clear_text_kl_difference();
  EXPECT_FALSE(absl::StrContains(RenderPlan(plan), "text"));
}

TEST(RenderDiffTest, MatchesTheGoldenText) {
  ExpectGolden(Diff(SmallPlan(2), OtherSmallPlan(2)), "golden_diff.txt");
}

TEST(RenderDiffTest, EqualPlansDifferNowhere) {
  EXPECT_TRUE(absl::StrContains(Diff(SmallPlan(2), SmallPlan(2)), "0 of 16 components differ, 0 "));
}

TEST(RenderDiffTest, WarnsWhenProbesDiffer) {
  const plans::Plan a = SmallPlan(1);
  plans::Plan b = a;
  EXPECT_FALSE(absl::StrContains(Diff(a, b), "not comparable"));
  b.mutable_options()->set_prefix_tokens(25);
  EXPECT_TRUE(absl::StrContains(Diff(a, b), "not comparable"));
  EXPECT_TRUE(absl::StrContains(Diff(a, b), "prefix 24 and 25"));
}

TEST(RenderDiffTest, ComparesWhatWasEmitted) {
  const plans::Plan a = SmallPlan(1);
  plans::Plan b = a;
  b.mutable_held_out()->set_uniform_emitted(true);
  EXPECT_TRUE(absl::StrContains(Diff(a, b), "51.5  [47.4, 55.2]           44.1  [40.1, 47.9]"));
  EXPECT_TRUE(absl::StrContains(Diff(a, b), "0.06250  [0.03125, 0.12500]  0.10000  [0.05000"));
}

TEST(RenderDiffTest, RefusesPlansOfDifferentModels) {
  const plans::Plan a = SmallPlan(1);
  plans::Plan b = a;
  b.mutable_model()->set_fingerprint(std::string(64, 'a'));
  const auto text = RenderDiff(a, "a.pb", b, "b.pb");
  EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(text.status().message(),
            "the plans are for different models: a.pb is for " + a.model().fingerprint() +
                ", b.pb for " + std::string(64, 'a'));
  b = a;
  b.mutable_components()->RemoveLast();
  EXPECT_FALSE(RenderDiff(a, "a.pb", b, "b.pb").ok());
}

TEST(WithThousandsTest, GroupsDigits) {
  EXPECT_EQ(WithThousands(0), "0");
  EXPECT_EQ(WithThousands(999), "999");
  EXPECT_EQ(WithThousands(1000), "1,000");
  EXPECT_EQ(WithThousands(-100), "-100");
  EXPECT_EQ(WithThousands(-1234567), "-1,234,567");
  EXPECT_EQ(WithThousands(INT64_MIN), "-9,223,372,036,854,775,808");
}

}  // namespace
}  // namespace bitbudget
