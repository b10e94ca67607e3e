#include "plans/targets/plan_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "absl/strings/match.h"
#include "plans/plan_io.h"
#include "plans/validate.h"
#include "runtime/base/mapped_file.h"
#include "tests/plans/small_plan.h"
#include "tests/support/expect_error.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

class PlanFileTest : public testing::Test {
 protected:
  const TempDir folder_;
};

TEST_F(PlanFileTest, WritesAndReadsBackBothForms) {
  const plans::Plan plan = SmallPlan(3);
  for (const char* name : {"plan.pb", "plan.json", "plan"}) {
    ASSERT_TRUE(WritePlan(plan, folder_.File(name)).ok());
    const auto read = ReadPlan(folder_.File(name));
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(SerializePlan(*read), SerializePlan(plan)) << name;
  }
  EXPECT_EQ((*ReadFile(folder_.File("plan.json")))[0], '{');
  EXPECT_EQ((*ReadFile(folder_.File("plan.pb")))[0], '\x08');
}

TEST_F(PlanFileTest, NamesTheFileThatCannotBeRead) {
  ExpectError(ReadPlan(folder_.File("none")).status(),
              absl::StatusCode::kNotFound,
              {folder_.File("none") + ": "});
  const auto folder = ReadPlan(folder_.path());
  EXPECT_TRUE(absl::StrContains(folder.status().message(), "not a regular file"))
      << folder.status();
}

TEST_F(PlanFileTest, RefusesFilesBeyondTheLimitWithoutReadingThem) {
  { std::ofstream(folder_.File("huge")).put('\x08'); }
  std::filesystem::resize_file(folder_.File("huge"), static_cast<uint64_t>(kMaxPlanFileBytes) + 1);
  ExpectError(ReadPlan(folder_.File("huge")).status(),
              kInvalid,
              {folder_.File("huge"), "at most 67108864"});
}

TEST_F(PlanFileTest, AnInvalidPlanLeavesTheFileThatWasThere) {
  plans::Plan plan = SmallPlan(1);
  plan.mutable_components(1)->set_size_bytes(1024);
  { std::ofstream(folder_.File("old.pb")) << "old"; }
  EXPECT_EQ(WritePlan(plan, folder_.File("old.pb")).message(),
            folder_.File("old.pb") +
                ": not written: components[1].size_bytes: 1024, but int4-g64 [64, 64] takes 2176");
  EXPECT_EQ(*ReadFile(folder_.File("old.pb")), "old");
}

TEST_F(PlanFileTest, NotANumberIsNeverWritten) {
  for (const double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    plans::Plan plan = SmallPlan(1);
    plan.mutable_held_out()->mutable_uniform()->set_dppl(bad);
    ExpectError(WritePlan(plan, folder_.File("nan.json")), kInvalid, {"held_out.uniform.dppl"});
    EXPECT_FALSE(std::filesystem::exists(folder_.File("nan.json")));
  }
}

// A plan for `target` in one format everywhere, which it is compared with too.
plans::Plan PlanFor(const std::string& target, const std::string& format) {
  plans::Plan plan = SmallPlan(2);
  plan.mutable_options()->set_target(target);
  plan.mutable_search()->clear_trace();
  for (plans::Component& c : *plan.mutable_components()) {
    c.clear_evidence();
    c.set_format(format);
    c.set_encoder("clip");
    c.set_size_bytes(SizeBytes(*ParseFormat(format), c.rows(), c.cols()));
  }
  plan.mutable_budget()->set_bytes(PlanSizeBytes(plan));
  plan.mutable_held_out()->set_uniform_format(format);
  plan.mutable_held_out()->set_uniform_size_bytes(PlanSizeBytes(plan));
  return plan;
}

TEST(CheckPlanTest, AcceptsWhatTheTargetCanLoad) {
  const plans::Plan plan = PlanFor("llama.cpp", "q5_0");
  EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
  const auto read = ParseCheckedPlan(SerializePlan(plan), "x");
  EXPECT_TRUE(read.ok()) << read.status();
}

TEST(CheckPlanTest, RefusesATargetThatIsUnknownOrCannotLoadThePlan) {
  plans::Plan plan = SmallPlan(2);
  plan.mutable_options()->set_target("vllm");
  ASSERT_TRUE(ValidatePlan(plan).ok());  // against itself nothing is wrong
  ExpectError(CheckPlan(plan), kInvalid, {"options.target: unknown target 'vllm'"});
  plan.mutable_options()->set_target("llama.cpp");
  ExpectError(CheckPlan(plan), kInvalid, {"options.target: token_embd.weight in int8-g64"});
  ExpectError(ParseCheckedPlan(SerializePlan(plan), "x.pb").status(),
              kInvalid,
              {"x.pb: options.target: token_embd.weight in int8-g64"});
}

// Plans for mlx had zero points once, of fewer bytes than MLX's offsets.
TEST(CheckPlanTest, AnOldPlanForMlxSaysWhatToDo) {
  EXPECT_TRUE(CheckPlan(PlanFor("mlx", "affine4-g64")).ok());
  ExpectError(CheckPlan(PlanFor("mlx", "int4z-g64")),
              kInvalid,
              {"options.target: model.embed_tokens in int4z-g64",
               "affine4-g64",
               "make the plan again, for target mlx"});
}

// Rows of 64 and 128 take q5_0 where q4_k is asked for: the uniform assignment has that size.
TEST(CheckPlanTest, SizesTheUniformAssignmentWithTheTargetsSubstitutes) {
  plans::Plan plan = PlanFor("llama.cpp", "q5_0");
  plan.mutable_held_out()->set_uniform_format("q4_k");
  EXPECT_TRUE(CheckPlan(plan).ok()) << CheckPlan(plan);
  plan.mutable_held_out()->set_uniform_size_bytes(PlanSizeBytes(plan) - 1);
  ExpectError(CheckPlan(plan), kInvalid, {"held_out.uniform_size_bytes", "q4_k"});
}

}  // namespace
}  // namespace bitbudget
