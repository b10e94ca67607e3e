#include "runtime/training/recovery.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "runtime/quantize/encoders.h"
#include "runtime/quantize/weight_encoder.h"
#include "runtime/training/encoded_model.h"
#include "tests/support/expect_error.h"
#include "tests/support/random_tokens.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

class MemoryState final : public RecoveryState {
 public:
  absl::Status Save(const std::map<std::string, std::string>& state) override {
    if (saves_left == 0) return absl::AbortedError("killed");
    --saves_left;
    kept = state;
    return absl::OkStatus();
  }
  absl::StatusOr<std::map<std::string, std::string>> Load() override { return kept; }

  std::map<std::string, std::string> kept;
  int saves_left = 1000;
};

class StopAfter final : public Progress {
 public:
  explicit StopAfter(int updates) : left_(updates) {}
  void Update(int64_t, absl::string_view) override { --left_; }
  bool Interrupted() const override { return left_ < 0; }

 private:
  int left_;
};

class RecoveryTest : public testing::Test {
 protected:
  RecoveryTest() {
    TinyModelOptions options;
    options.hidden = 32;
    options.tied = true;
    const TinyModel tiny(options);
    model_ = *Model::Load(tiny.path(), 1);
    for (int s = 0; s < 12; ++s) {
      (s < 8 ? data_.training : data_.kept_aside)
          .push_back(RandomTokens(24, model_->config().vocab_size, 100 + s));
    }
    options_.steps = 12;
  }

  ComponentEncodings Start(const char* format) const {
    const auto encoder = *MakeEncoder("rtn");
    const StatsWeightEncoder weights(*model_, *encoder);
    ComponentEncodings start;
    for (size_t c = 0; c < model_->components().size(); ++c) {
      const auto id = static_cast<ComponentId>(c);
      if (model_->component(id).layer < 0) continue;
      start[id] = *weights.Encode(id, *ParseFormat(format), 1);
    }
    return start;
  }

  absl::StatusOr<Recovered> Run(const ComponentEncodings& start,
                                const std::vector<std::string>& methods,
                                RecoveryState* state = nullptr,
                                Progress* progress = nullptr) const {
    Progress silent;
    return Recover(
        *model_, start, data_, methods, options_, state, progress == nullptr ? &silent : progress);
  }

  double Divergence(const ComponentEncodings& encodings) const {
    Progress progress;
    const auto original = *OriginalOutputs::Create(*model_, data_.kept_aside, 1, &progress);
    return *MeanDivergence(*model_, encodings, data_.kept_aside, *original, 0, 1, &progress);
  }

  std::unique_ptr<Model> model_;
  RecoveryData data_;
  RecoveryOptions options_;
};

bool SameBytes(const ComponentEncodings& a, const ComponentEncodings& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [component, encoding] : a) {
    const auto found = b.find(component);
    if (found == b.end() || found->second.bytes != encoding.bytes) return false;
  }
  return true;
}

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
    EXPECT_DOUBLE_EQ(step.loss_after, Divergence(recovered->encodings)) << method;
    EXPECT_LT(step.loss_after, step.loss_before) << method;
    for (const auto& [component, encoding] : recovered->encodings) {
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
  EXPECT_TRUE(SameBytes(whole->encodings, threaded->encodings));
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
    EXPECT_TRUE(SameBytes(whole->encodings, resumed->encodings)) << "killed at save " << saves;
    ASSERT_EQ(resumed->steps.size(), whole->steps.size());
    for (size_t i = 0; i < whole->steps.size(); ++i) {
      EXPECT_EQ(resumed->steps[i].steps, whole->steps[i].steps);
      EXPECT_EQ(resumed->steps[i].loss_after, whole->steps[i].loss_after);
    }
  }
}

TEST_F(RecoveryTest, ADamagedStateIsAnError) {
  MemoryState state;
  ASSERT_TRUE(Run(Start("int3-g32"), {"blockwise"}, &state).ok());
  for (auto& [name, bytes] : state.kept) {
    if (name.starts_with("ended/")) bytes.pop_back();
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
    for (const auto& [component, encoding] : recovered->encodings) {
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
  EXPECT_FALSE(SameBytes(plain->encodings, mixed->encodings));
  EXPECT_FALSE(SameBytes(hidden->encodings, without->encodings));
}

TEST_F(RecoveryTest, KeepsTheStartWhereTrainingMakesItWorse) {
  options_.learning_rate = 1;  // scatters the weights
  options_.steps = 3;
  const ComponentEncodings start = Start("int8");
  const auto recovered = Run(start, {"blockwise"});
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_TRUE(SameBytes(recovered->encodings, start));
  EXPECT_EQ(recovered->steps[0].loss_after, recovered->steps[0].loss_before);
}

TEST_F(RecoveryTest, AnInterruptionKeepsTheBestSoFar) {
  const ComponentEncodings start = Start("int2-g32");
  StopAfter progress(15);  // in the second of two layers
  const auto recovered = Run(start, {"blockwise"}, nullptr, &progress);
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_FALSE(recovered->complete);
  EXPECT_LT(recovered->steps[0].loss_after, recovered->steps[0].loss_before);
  EXPECT_DOUBLE_EQ(recovered->steps[0].loss_after, Divergence(recovered->encodings));
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
  ExpectError(Run(Start("onebit-ln"), {"blockwise"}).status(),
              absl::StatusCode::kInvalidArgument,
              {"onebit-ln"});
  options_.learning_rate = -1;
  ExpectError(Run(Start("int4-g32"), {"blockwise"}).status(),
              absl::StatusCode::kInvalidArgument,
              {"learning rate"});
}

}  // namespace
}  // namespace bitbudget
