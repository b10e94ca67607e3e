// Training between rounds of pruning, on models of a few thousand weights.

#include "runtime/training/retraining.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/quantize/encoders.h"
#include "runtime/quantize/weight_encoder.h"
#include "runtime/training/encoded_model.h"
#include "tests/support/expect_error.h"
#include "tests/training/recovery_fixture.h"

namespace bitbudget {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

class Interruption final : public Progress {
 public:
  explicit Interruption(int updates) : left_(updates) {}
  void Update(int64_t, absl::string_view) override { --left_; }
  bool Interrupted() const override { return left_ <= 0; }

 private:
  int left_;
};

class RetrainingTest : public RecoveryTest {
 protected:
  RetrainingTest() : encoder_(*MakeEncoder("rtn")), pruned_(Start("bf16+s60")) {}

  // Weights in the formats of others.
  ComponentEncodings Pruned(const ComponentEncodings& like, const ReplacedWeights& weights) const {
    StatsWeightEncoder encoder(*model_, *encoder_);
    encoder.UseWeights(&weights);
    ComponentEncodings encodings = like;
    for (const auto& [id, values] : weights) {
      encodings[id] = *encoder.Encode(id, like.at(id).format, 1);
    }
    return encodings;
  }

  absl::StatusOr<Retrained> Run(const ComponentEncodings& pruned,
                                const RetrainingSteps& steps,
                                Progress* progress = nullptr) const {
    Progress silent;
    const PruneWeights prune = [&](const ReplacedWeights& weights) {
      return Pruned(pruned, weights);
    };
    return Retrain(
        *model_, pruned, prune, steps, data_, options_, progress == nullptr ? &silent : progress);
  }

  Retrained MustRun(const RetrainingSteps& steps) const {
    absl::StatusOr<Retrained> retrained = Run(pruned_, steps);
    EXPECT_TRUE(retrained.ok()) << retrained.status();
    return retrained.ok() ? *std::move(retrained) : Retrained();
  }

  // How many of the weights that are left out at the start are zero in `weights`, and how many not.
  struct Outside {
    int64_t zero = 0;
    int64_t other = 0;
  };
  Outside OutsideOfMasks(const ReplacedWeights& weights) const {
    Outside outside;
    for (const auto& [id, values] : weights) {
      const Matrix<float> start = DecodedMatrix(*model_, pruned_, id);
      for (size_t i = 0; i < values.size(); ++i) {
        if (start.data()[i] == 0) ++(values[i] == 0 ? outside.zero : outside.other);
      }
    }
    return outside;
  }

  std::unique_ptr<Encoder> encoder_;
  ComponentEncodings pruned_;
};

TEST_F(RetrainingTest, MaskedStepsBringThePrunedModelCloserAndKeepItsZeros) {
  const Retrained retrained = MustRun({.masked = 12});
  EXPECT_EQ(retrained.steps, 12);
  EXPECT_TRUE(retrained.complete);
  EXPECT_DOUBLE_EQ(retrained.loss_before, Divergence(pruned_));
  EXPECT_LT(retrained.loss_after, 0.9 * retrained.loss_before);
  EXPECT_DOUBLE_EQ(retrained.loss_after, Divergence(Pruned(pruned_, retrained.weights)));
  EXPECT_EQ(retrained.weights.size(), pruned_.size());
  const Outside outside = OutsideOfMasks(retrained.weights);
  EXPECT_GT(outside.zero, 0);
  EXPECT_EQ(outside.other, 0);
}

TEST_F(RetrainingTest, UnmaskedStepsFreeWhatWasPrunedAndTheLossIsThatOfTheModelPrunedAgain) {
  const Retrained retrained = MustRun({.unmasked = 12});
  const Outside outside = OutsideOfMasks(retrained.weights);
  EXPECT_GT(outside.other, outside.zero);
  EXPECT_LT(retrained.loss_after, retrained.loss_before);
  EXPECT_DOUBLE_EQ(retrained.loss_after, Divergence(Pruned(pruned_, retrained.weights)));
}

TEST_F(RetrainingTest, StepsThatDoNotHelpAreTakenBack) {
  options_.learning_rate = 1;
  const Retrained retrained = MustRun({.masked = 3, .unmasked = 3});
  EXPECT_EQ(retrained.steps, 6);
  EXPECT_EQ(retrained.loss_after, retrained.loss_before);
  EXPECT_TRUE(retrained.weights.empty());
}

TEST_F(RetrainingTest, GivesTheSameWeightsForAnyNumberOfThreads) {
  const Retrained one = MustRun({.masked = 6, .unmasked = 3});
  options_.threads = 3;
  const Retrained three = MustRun({.masked = 6, .unmasked = 3});
  EXPECT_EQ(one.weights, three.weights);
  EXPECT_EQ(one.loss_after, three.loss_after);
}

TEST_F(RetrainingTest, AnInterruptionKeepsTheBestSoFar) {
  Interruption interruption(8);
  const auto retrained = Run(pruned_, {.masked = 12, .unmasked = 6}, &interruption);
  ASSERT_TRUE(retrained.ok()) << retrained.status();
  EXPECT_FALSE(retrained->complete);
  EXPECT_EQ(retrained->steps, 8);
  EXPECT_LT(retrained->loss_after, retrained->loss_before);
  EXPECT_FALSE(retrained->weights.empty());
}

TEST_F(RetrainingTest, RemovedAndDenseMatricesStay) {
  ComponentEncodings mixed = pruned_;
  const ComponentEncodings removed = Start("removed"), dense = Start("f32");
  const ComponentId first = mixed.begin()->first, second = std::next(mixed.begin())->first;
  mixed[first] = removed.at(first);
  mixed[second] = dense.at(second);
  const auto retrained = Run(mixed, {.masked = 3, .unmasked = 2});
  ASSERT_TRUE(retrained.ok()) << retrained.status();
  EXPECT_EQ(retrained->weights.size(), mixed.size() - 2);
  EXPECT_FALSE(retrained->weights.contains(first));
  EXPECT_FALSE(retrained->weights.contains(second));
  const auto nothing = Run(removed, {.masked = 3, .unmasked = 2});
  ASSERT_TRUE(nothing.ok()) << nothing.status();
  EXPECT_EQ(nothing->steps, 0);
  EXPECT_TRUE(nothing->weights.empty());
}

TEST(CheckRetrainableTest, TakesFloatFormatsOnly) {
  for (const char* format : {"bf16+s50", "f16+2:4", "f32+s75", "bf16", "removed"}) {
    EXPECT_TRUE(CheckRetrainable(*ParseFormat(format)).ok()) << format;
  }
  for (const char* format : {"int4-g64+s50", "int8", "q4_0", "onebit"}) {
    ExpectError(CheckRetrainable(*ParseFormat(format)), kInvalid, {format, "retrained"});
  }
}

TEST(RetrainingStepsTest, AreRefusedWhereTheyAreNone) {
  EXPECT_TRUE((RetrainingSteps{450, 50}.Validate().ok()));
  EXPECT_TRUE((RetrainingSteps{0, 1}.Validate().ok()));
  ExpectError((RetrainingSteps{-1, 50}.Validate()), kInvalid, {"-1 masked", "negative"});
  ExpectError((RetrainingSteps{450, -2}.Validate()), kInvalid, {"-2 unmasked", "negative"});
  ExpectError((RetrainingSteps{}.Validate()), kInvalid, {"no steps"});
}

}  // namespace
}  // namespace bitbudget
