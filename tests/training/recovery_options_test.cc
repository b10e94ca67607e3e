#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "runtime/training/random_signs.h"
#include "tests/training/recovery_fixture.h"

namespace bitbudget {
namespace {

class Messages final : public Progress {
 public:
  void Message(absl::string_view text) override { all += std::string(text) + "\n"; }
  std::string all;
};

class RecoveryOptionsTest : public RecoveryTest {};

TEST_F(RecoveryOptionsTest, LayersWithNormalisedOutputsLearn) {
  const ComponentEncodings start = Start("onebit-ln");
  for (const std::string method : {"blockwise", "scales", "distill", "onebit"}) {
    const auto recovered = Run(start, {method});
    ASSERT_TRUE(recovered.ok()) << method << ": " << recovered.status();
    EXPECT_LT(recovered->steps[0].loss_after, recovered->steps[0].loss_before) << method;
    EXPECT_DOUBLE_EQ(recovered->steps[0].loss_after, Divergence(recovered->model)) << method;
    EXPECT_EQ(recovered->model.encodings.at(3).format.Name(), "onebit-ln");
  }
}

// Half of drawn signs are others, bits behind the last input stay 0, and g and h stay.
TEST_F(RecoveryOptionsTest, DrawnSignsAreOthersAndLeaveTheVectors) {
  ComponentEncodings drawn = Start("onebit");
  const ComponentEncodings start = drawn;
  DrawSigns(*model_, 1, &drawn);
  for (const auto& [component, encoding] : drawn) {
    const Encoding& before = start.at(component);
    const int64_t signs = encoding.rows * ((encoding.cols + 7) / 8);
    int64_t flipped = 0;
    for (int64_t i = 0; i < signs; ++i) {
      flipped += __builtin_popcount(encoding.bytes[i] ^ before.bytes[i]);
    }
    EXPECT_NEAR(static_cast<double>(flipped) / static_cast<double>(encoding.rows * encoding.cols),
                0.5,
                0.1);
    EXPECT_TRUE(std::equal(encoding.bytes.begin() + signs,
                           encoding.bytes.end(),
                           before.bytes.begin() + signs,
                           before.bytes.end()));
  }
  ComponentEncodings narrow;
  narrow[1] = {*ParseFormat("onebit"), 50, 3, std::vector<uint8_t>(50 + 2 * 53)};
  DrawSigns(*model_, 1, &narrow);
  for (int row = 0; row < 50; ++row) EXPECT_LT(narrow[1].bytes[row], 8);
}

TEST_F(RecoveryOptionsTest, ARandomStartIsWorseThanThatOfThePlan) {
  const ComponentEncodings start = Start("onebit");
  options_.keep_worse = true;
  const auto plan = Run(start, {"onebit"});
  options_.start = "random";
  const auto random = Run(start, {"onebit"});
  ASSERT_TRUE(plan.ok() && random.ok());
  EXPECT_LT(plan->steps[0].loss_trained, random->steps[0].loss_trained);
  EXPECT_EQ(plan->steps[0].loss_before, random->steps[0].loss_before);
}

TEST_F(RecoveryOptionsTest, WhatIsWorseIsTakenOnlyWhenAsked) {
  const ComponentEncodings start = Start("int8");
  options_.learning_rate = 1;  // scatters the weights
  options_.steps = 3;
  for (const std::string method : {"blockwise", "distill"}) {
    options_.keep_worse = false;
    const auto kept = Run(start, {method});
    options_.keep_worse = true;
    const auto taken = Run(start, {method});
    ASSERT_TRUE(kept.ok() && taken.ok());
    EXPECT_EQ(kept->steps[0].loss_after, kept->steps[0].loss_before) << method;
    EXPECT_TRUE(SameBytes(kept->model.encodings, start));
    EXPECT_GT(taken->steps[0].loss_after, taken->steps[0].loss_before) << method;
    EXPECT_EQ(taken->steps[0].loss_after, taken->steps[0].loss_trained) << method;
    EXPECT_DOUBLE_EQ(taken->steps[0].loss_after, Divergence(taken->model.encodings)) << method;
  }
}

TEST_F(RecoveryOptionsTest, TheRateFactorMultipliesTheRateOfWeights) {
  const ComponentEncodings start = Start("int4-g32");
  options_.steps = 2;
  options_.learning_rate = 0.5;  // of weights; blockwise scales keep their own rate
  const auto twice = Run(start, {"scales"});
  options_.learning_rate = 0.25;
  options_.rate_factor = 2;
  const auto factor = Run(start, {"scales"});
  ASSERT_TRUE(twice.ok() && factor.ok());
  EXPECT_TRUE(SameBytes(twice->model.encodings, factor->model.encodings));
}

// In every method, in front of a method that does well and behind one.
TEST_F(RecoveryOptionsTest, TrainingThatDivergesIsSaidAndKeepsTheStart) {
  const ComponentEncodings start = Start("int4-g32");
  options_.steps = 40;
  options_.rate_factor = 1e30;
  options_.keep_worse = true;  // which takes no codes that are no numbers
  for (const std::string method : {"blockwise", "scales", "distill"}) {
    Messages progress;
    const auto recovered = Run(start, {method}, nullptr, &progress);
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    EXPECT_TRUE(recovered->complete);
    EXPECT_TRUE(SameBytes(recovered->model.encodings, start)) << method;
    EXPECT_TRUE(recovered->steps[0].diverged) << method;
    EXPECT_EQ(recovered->steps[0].loss_after, recovered->steps[0].loss_before);
    for (const std::string part : {method.c_str(), "diverges", "learning rate", "lower"}) {
      EXPECT_NE(progress.all.find(part), std::string::npos) << progress.all;
    }
  }
}

}  // namespace
}  // namespace bitbudget
