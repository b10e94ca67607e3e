#include "runtime/training/recovery.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/expect_error.h"
#include "tests/training/recovery_fixture.h"

namespace bitbudget {
namespace {

class StopAfter final : public Progress {
 public:
  explicit StopAfter(int updates) : left_(updates) {}
  void Update(int64_t, absl::string_view) override { --left_; }
  bool Interrupted() const override { return left_ < 0; }

 private:
  int left_;
};

std::vector<std::string> AllMethods() {
  std::vector<std::string> names;
  for (const RecoveryMethod& method : RecoveryMethods()) names.emplace_back(method.name);
  return names;
}

TEST_F(RecoveryTest, LowersTheDivergenceAndReportsIt) {
  for (const std::string& method : AllMethods()) {
    const ComponentEncodings start = Start(method == "onebit" ? "onebit" : "int2-g32");
    options_.learning_rate = method == "omniquant" ? 0.1 : 0;  // few steps, from rounded ranges
    const auto recovered = Run(start, {method});
    ASSERT_TRUE(recovered.ok()) << method << ": " << recovered.status();
    ASSERT_EQ(recovered->steps.size(), 1u);
    const RecoveryStep& step = recovered->steps[0];
    EXPECT_EQ(step.method, method);
    EXPECT_GT(step.steps, 0) << method;
    EXPECT_TRUE(recovered->complete);
    EXPECT_DOUBLE_EQ(step.loss_before, Divergence(start)) << method;
    EXPECT_DOUBLE_EQ(step.loss_after, Divergence(recovered->model)) << method;
    EXPECT_LT(step.loss_after, step.loss_before) << method;
    for (const auto& [component, encoding] : recovered->model.encodings) {
      EXPECT_EQ(encoding.format, start.at(component).format);
    }
  }
}

TEST_F(RecoveryTest, IsTheSameForAnyThreadsAndResumed) {
  const ComponentEncodings start = Start("int3-g32");
  const std::vector<std::string> methods = AllMethods();
  std::vector<std::string> chosen;
  for (const std::string& method : methods) {
    if (method != "onebit") chosen.push_back(method);
  }
  options_.steps = 6;
  const auto whole = Run(start, chosen);
  ASSERT_TRUE(whole.ok()) << whole.status();
  options_.threads = 3;
  const auto threaded = Run(start, chosen);
  ASSERT_TRUE(threaded.ok());
  EXPECT_TRUE(SameBytes(whole->model, threaded->model));
  // Killed at every save in turn.
  for (int saves = 0;; ++saves) {
    MemoryState state;
    state.saves_left = saves;
    const auto killed = Run(start, chosen, &state);
    if (killed.ok()) break;
    EXPECT_TRUE(absl::IsAborted(killed.status()));
    state.saves_left = 1000;
    const auto resumed = Run(start, chosen, &state);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_TRUE(SameBytes(whole->model, resumed->model)) << "killed at save " << saves;
    ASSERT_EQ(resumed->steps.size(), whole->steps.size());
    for (size_t i = 0; i < whole->steps.size(); ++i) {
      EXPECT_EQ(resumed->steps[i].steps, whole->steps[i].steps);
      EXPECT_EQ(resumed->steps[i].loss_after, whole->steps[i].loss_after);
    }
  }
}

TEST_F(RecoveryTest, ATransformationIsResumedAndIsTheSameForAnyThreads) {
  const ComponentEncodings start = Start("int3-g32");
  options_.transform = true;
  options_.keep_worse = true;
  options_.token_bits = 4;
  options_.steps = 6;
  const auto whole = Run(start, {"omniquant", "scales"});
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_TRUE(whole->model.transformed);
  options_.threads = 3;
  for (int saves = 0; saves < 6; ++saves) {
    MemoryState state;
    state.saves_left = saves;
    EXPECT_TRUE(absl::IsAborted(Run(start, {"omniquant", "scales"}, &state).status()));
    state.saves_left = 1000;
    const auto resumed = Run(start, {"omniquant", "scales"}, &state);
    ASSERT_TRUE(resumed.ok()) << resumed.status();
    EXPECT_TRUE(resumed->model.transformed);
    EXPECT_TRUE(SameBytes(whole->model, resumed->model)) << "killed at save " << saves;
  }
}

TEST_F(RecoveryTest, NormsThatTrainingMovedLowerTheDivergence) {
  const auto recovered = Run(Start("int2-g32"), {"scales"});
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  ASSERT_EQ(recovered->model.vectors.size(), 2u);
  EXPECT_LT(Divergence(recovered->model), Divergence(recovered->model.encodings));
}

TEST_F(RecoveryTest, NormsOfHalvesThatAreStoredStay) {
  ComponentEncodings start = Start("int2-g32");
  for (const int matrix : {kGateMatrix, kUpMatrix, kDownMatrix}) {
    start.erase(LayerComponentId(1, matrix));
  }
  const auto recovered = Run(start, {"scales"});
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  const VectorsByLayer& vectors = recovered->model.vectors;
  EXPECT_EQ(vectors.at(1).mlp_norm, model_->layer(1).mlp_norm);
  EXPECT_NE(vectors.at(1).attention_norm, model_->layer(1).attention_norm);
  EXPECT_NE(vectors.at(0).mlp_norm, model_->layer(0).mlp_norm);
}

TEST_F(RecoveryTest, TransformedWeightsAreOnlyForMethodsThatKeepCodes) {
  options_.transform = true;
  ExpectError(Run(Start("int4-g32"), {"omniquant", "blockwise"}).status(),
              absl::StatusCode::kInvalidArgument,
              {"blockwise", "equivalent transformation", "scales"});
  ExpectError(Run(Start("int4-g32"), {"blockwise"}).status(),
              absl::StatusCode::kInvalidArgument,
              {"equivalent transformation", "omniquant only"});
}

// Were they those of the original model, the layers ahead would not matter.
TEST_F(RecoveryTest, ALayerLearnsFromTheInputsThatItMeetsInTheRecoveredModel) {
  options_.keep_worse = true;
  const ComponentEncodings both = Start("int2-g32");
  ComponentEncodings second = both;
  for (int i = 0; i < kLayerMatrices; ++i) second.erase(LayerComponentId(0, i));
  const auto after_coarse = Run(both, {"blockwise"});
  const auto after_exact = Run(second, {"blockwise"});
  ASSERT_TRUE(after_coarse.ok() && after_exact.ok());
  for (int i = 0; i < kLayerMatrices; ++i) {
    const ComponentId id = LayerComponentId(1, i);
    EXPECT_NE(after_coarse->model.encodings.at(id).bytes, after_exact->model.encodings.at(id).bytes)
        << model_->component(id).name;
  }
}

TEST_F(RecoveryTest, ADamagedStateIsAnError) {
  MemoryState state;
  ASSERT_TRUE(Run(Start("int3-g32"), {"blockwise"}, &state).ok());
  for (auto& [name, bytes] : state.kept) {
    if (name.starts_with("ended/") && !bytes.empty()) bytes.pop_back();
  }
  EXPECT_TRUE(absl::IsDataLoss(Run(Start("int3-g32"), {"blockwise"}, &state).status()));
}

TEST_F(RecoveryTest, FrozenMatricesKeepTheirCodesAndTheOthersLearn) {
  const ComponentEncodings start = Start("int2-g32");
  for (const std::string freeze : {"none", "ov", "qk", "random"}) {
    options_.freeze = freeze;
    const auto recovered = Run(start, {"distill"});
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    int64_t kept = 0;
    int64_t ov = 0;
    for (const auto& [component, encoding] : recovered->model.encodings) {
      const ComponentKind kind = model_->component(component).kind;
      const bool is_ov = kind == ComponentKind::kO || kind == ComponentKind::kV;
      const bool is_qk = kind == ComponentKind::kQ || kind == ComponentKind::kK;
      const bool same = encoding.bytes == start.at(component).bytes;
      if (freeze != "random") {
        EXPECT_EQ(same, (freeze == "ov" && is_ov) || (freeze == "qk" && is_qk))
            << freeze << " " << model_->component(component).name;
      }
      const int64_t size = encoding.rows * encoding.cols;
      kept += same ? size : 0;
      ov += is_ov ? size : 0;
    }
    if (freeze == "random") {
      EXPECT_GE(kept, ov);
      EXPECT_LT(kept, 2 * ov + 32 * 48);
    }
  }
}

TEST_F(RecoveryTest, WeightsOfTheLossesMatter) {
  const ComponentEncodings start = Start("int2-g32");
  const auto plain = Run(start, {"distill"});
  options_.kl_weight = 0.2;
  const auto mixed = Run(start, {"distill"});
  options_.hidden_weight = 1;
  const auto hidden = Run(start, {"onebit"});
  options_.hidden_weight = 0;
  const auto without = Run(start, {"onebit"});
  ASSERT_TRUE(plain.ok() && mixed.ok() && hidden.ok() && without.ok());
  EXPECT_FALSE(SameBytes(plain->model.encodings, mixed->model.encodings));
  EXPECT_FALSE(SameBytes(hidden->model.encodings, without->model.encodings));
}

TEST_F(RecoveryTest, KeepsTheStartWhereTrainingMakesItWorse) {
  options_.learning_rate = 1;  // scatters the weights
  options_.steps = 3;
  const ComponentEncodings start = Start("int8");
  const auto recovered = Run(start, {"blockwise"});
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_TRUE(SameBytes(recovered->model.encodings, start));
  EXPECT_EQ(recovered->steps[0].loss_after, recovered->steps[0].loss_before);
}

TEST_F(RecoveryTest, AnInterruptionKeepsTheBestSoFar) {
  const ComponentEncodings start = Start("int2-g32");
  StopAfter progress(15);  // in the second of two layers
  const auto recovered = Run(start, {"blockwise"}, nullptr, &progress);
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_FALSE(recovered->complete);
  EXPECT_LT(recovered->steps[0].loss_after, recovered->steps[0].loss_before);
  EXPECT_DOUBLE_EQ(recovered->steps[0].loss_after, Divergence(recovered->model));
}

TEST_F(RecoveryTest, RefusesWhatCannotBeTrainedAheadOfTheWork) {
  ExpectError(Run(Start("int4-g32"), {"blokwise"}).status(),
              absl::StatusCode::kInvalidArgument,
              {"blockwise"});
  ExpectError(Run(Start("int4-g32"), {}).status(),
              absl::StatusCode::kInvalidArgument,
              {"no recovery method"});
  ExpectError(Run(Start("bf16"), {"blockwise"}).status(),
              absl::StatusCode::kInvalidArgument,
              {"nothing to recover"});
  ComponentEncodings start = Start("onebit-ln");
  start[0] = {*ParseFormat("onebit-ln"), 97, 32, {}};  // the head, too, which is tied
  ExpectError(Run(start, {"blockwise"}).status(),
              absl::StatusCode::kInvalidArgument,
              {"embed_tokens", "onebit-ln", "normalised"});
  options_.start = "random";
  ExpectError(Run(Start("int4-g32"), {"blockwise"}).status(),
              absl::StatusCode::kInvalidArgument,
              {"random", "one-bit"});
  options_.start = "svid";
  ExpectError(Run(Start("onebit"), {"blockwise"}).status(),
              absl::StatusCode::kInvalidArgument,
              {"svid", "plan", "random"});
  options_.start = "plan";
  options_.rate_factor = 0;
  ExpectError(Run(Start("int4-g32"), {"blockwise"}).status(),
              absl::StatusCode::kInvalidArgument,
              {"factor"});
  options_.rate_factor = 1;
  options_.learning_rate = -1;
  ExpectError(Run(Start("int4-g32"), {"blockwise"}).status(),
              absl::StatusCode::kInvalidArgument,
              {"learning rate"});
}

}  // namespace
}  // namespace bitbudget
