#include "runtime/quantize/input_moments.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/eval/bank.h"
#include "runtime/quantize/rtn_encoder.h"
#include "scoring/output_error.h"
#include "tests/support/random_tokens.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

constexpr int64_t kVocab = 64;

class InputMomentsTest : public testing::TestWithParam<bool> {
 protected:
  InputMomentsTest() {
    TinyModelOptions options;
    options.tied = GetParam();
    options.vocab = kVocab;
    const TinyModel tiny(options);
    model_ = *Model::Load(tiny.path(), 1);
    transformer_ = std::make_unique<Transformer>(*model_, 128);
    encoder_ = MakeRtnEncoder();
    weight_encoder_ = std::make_unique<StatsWeightEncoder>(*model_, *encoder_);
    bank_ = std::make_unique<EncodingBank>(*model_, *weight_encoder_, BankOptions());
    // More sequences than parts, of different lengths; one longer than the head takes at a time.
    for (const int64_t length : {17, 110, 1, 40, 3, 9, 22, 5, 31, 2, 12}) {
      sequences_.push_back(RandomTokens(length, kVocab, 90 + static_cast<uint64_t>(length)));
    }
  }

  InputMoments Measure(int threads) {
    Progress progress;
    AssignmentWeights weights = bank_->Reference();
    auto moments = MeasureInputMoments(*transformer_, &weights, sequences_, threads, &progress);
    EXPECT_TRUE(moments.ok()) << moments.status();
    return *moments;
  }

  std::unique_ptr<Model> model_;
  std::unique_ptr<Transformer> transformer_;
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<StatsWeightEncoder> weight_encoder_;
  std::unique_ptr<EncodingBank> bank_;
  std::vector<std::vector<int32_t>> sequences_;
};

TEST_P(InputMomentsTest, AreTheMeanSquaresOfAllInputs) {
  const InputMoments moments = Measure(1);
  Progress progress;
  AssignmentWeights weights = bank_->Reference();
  const auto sample =
      InputSample::Create(*transformer_, &weights, sequences_, 1 << 20, 1, &progress);
  ASSERT_TRUE(sample.ok()) << sample.status();
  const int64_t rows = sample->rows();
  for (const auto& [id, values] : moments) {
    const std::span<const float> inputs = sample->Inputs(id);
    const int64_t cols = model_->component(id).cols;
    ASSERT_EQ(static_cast<int64_t>(values.size()), cols);
    for (int64_t j = 0; j < cols; ++j) {
      double sum = 0;
      for (int64_t i = 0; i < rows; ++i) sum += std::pow(inputs[i * cols + j], 2.0);
      // Sums of doubles in another order, rounded once to float.
      EXPECT_NEAR(values[j], sum / rows, sum / rows * 0x1p-23) << id << " " << j;
    }
  }
}

TEST_P(InputMomentsTest, DoNotDependOnThreads) {
  EXPECT_EQ(Measure(1), Measure(3));
  EXPECT_EQ(Measure(1), Measure(16));
}

TEST_P(InputMomentsTest, StandUnderTheComponentThatOthersShareInputsWith) {
  const InputMoments moments = Measure(1);
  for (size_t c = 0; c < model_->components().size(); ++c) {
    const auto id = static_cast<ComponentId>(c);
    const ComponentKind kind = model_->component(id).kind;
    const bool shares =
        kind == ComponentKind::kK || kind == ComponentKind::kV || kind == ComponentKind::kUp;
    const bool multiplied = kind != ComponentKind::kEmbedding || GetParam();
    EXPECT_EQ(moments.contains(id), multiplied && !shares) << model_->component(id).name;
  }
}

// The vocabulary head is as much work as several layers, and its inputs do not need it.
TEST_P(InputMomentsTest, NeverAskForTheHeadsWeights) {
  class NoHead final : public WeightSource {
   public:
    NoHead(AssignmentWeights weights, int head) : weights_(std::move(weights)), head_(head) {}
    absl::StatusOr<WeightLease> Pin(int first, int end, int threads) override {
      if (end > head_) return absl::InternalError("the head was asked for");
      return weights_.Pin(first, end, threads);
    }

   private:
    AssignmentWeights weights_;
    const int head_;
  } weights(bank_->Reference(), NumStages(model_->config()) - 1);
  Progress progress;
  const auto moments = MeasureInputMoments(*transformer_, &weights, sequences_, 2, &progress);
  ASSERT_TRUE(moments.ok()) << moments.status();
  EXPECT_EQ(*moments, Measure(1));
  const auto sample = InputSample::Create(*transformer_, &weights, sequences_, 50, 2, &progress);
  EXPECT_TRUE(sample.ok()) << sample.status();
}

INSTANTIATE_TEST_SUITE_P(TiedOrNot, InputMomentsTest, testing::Bool());

}  // namespace
}  // namespace bitbudget
