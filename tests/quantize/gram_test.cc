#include "runtime/quantize/gram.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "runtime/eval/bank.h"
#include "runtime/quantize/clip_encoder.h"
#include "runtime/quantize/gptq_encoder.h"
#include "runtime/quantize/input_moments.h"
#include "runtime/quantize/input_sources.h"
#include "runtime/quantize/rtn_encoder.h"
#include "scoring/output_error.h"
#include "tests/support/gram_inputs.h"
#include "tests/support/random_tokens.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

constexpr int64_t kVocab = 64;

class GramTest : public testing::TestWithParam<bool> {
 protected:
  GramTest() {
    TinyModelOptions options;
    options.tied = GetParam();
    options.vocab = kVocab;
    const TinyModel tiny(options);
    model_ = *Model::Load(tiny.path(), 1);
    transformer_ = std::make_unique<Transformer>(*model_, 128);
    encoder_ = MakeRtnEncoder();
    weight_encoder_ = std::make_unique<StatsWeightEncoder>(*model_, *encoder_);
    bank_ = std::make_unique<EncodingBank>(*model_, *weight_encoder_, BankOptions());
    // Together more tokens than are held at a time, and than are summed up in one go.
    for (int i = 0; i < 40; ++i) {
      sequences_.push_back(RandomTokens(1 + (i * 37) % 127, kVocab, 90 + static_cast<uint64_t>(i)));
    }
    for (int i = 0; i < 25; ++i) {
      sequences_.push_back(RandomTokens(100, kVocab, 300 + static_cast<uint64_t>(i)));
    }
  }

  std::unique_ptr<GramStore> Measure(int threads,
                                     int64_t max_bytes = 1 << 30,
                                     const TokenWeights* token_weights = nullptr) {
    auto store = std::make_unique<GramStore>(max_bytes, testing::TempDir());
    Progress progress;
    AssignmentWeights weights = bank_->Reference();
    const GramTokens tokens{sequences_, token_weights};
    const absl::Status status =
        MeasureGrams(*transformer_, &weights, tokens, threads, &progress, store.get());
    EXPECT_TRUE(status.ok()) << status;
    return store;
  }

  // Of every component that is multiplied, some of them 0.
  TokenWeights RandomWeights() const {
    size_t rows = 0;
    for (const std::vector<int32_t>& sequence : sequences_) rows += sequence.size();
    TokenWeights weights;
    const std::vector<ComponentId> sources = InputSources(*model_);
    for (size_t c = 0; c < sources.size(); ++c) {
      if (sources[c] < 0) continue;
      for (const float value : GaussianValues(static_cast<int64_t>(rows), 1, 700 + c)) {
        weights[static_cast<ComponentId>(c)].push_back(value < -1 ? 0 : value * value);
      }
    }
    return weights;
  }

  std::vector<float> Values(const GramStore& store, ComponentId id) {
    Gram storage;
    const auto gram = store.Find(id, &storage);
    EXPECT_TRUE(gram.ok()) << gram.status();
    return *gram == nullptr ? std::vector<float>() : (*gram)->values;
  }

  std::unique_ptr<Model> model_;
  std::unique_ptr<Transformer> transformer_;
  std::unique_ptr<Encoder> encoder_;
  std::unique_ptr<StatsWeightEncoder> weight_encoder_;
  std::unique_ptr<EncodingBank> bank_;
  std::vector<std::vector<int32_t>> sequences_;
};

TEST_P(GramTest, IsTheMeanOfTheInputsProducts) {
  const auto store = Measure(2);
  Progress progress;
  AssignmentWeights weights = bank_->Reference();
  const auto sample =
      InputSample::Create(*transformer_, &weights, sequences_, 1 << 20, 1, &progress);
  ASSERT_TRUE(sample.ok()) << sample.status();
  const int64_t rows = sample->rows();
  ASSERT_GT(rows, 4096);
  for (const auto& [id, diagonal] : store->moments()) {
    const std::span<const float> x = sample->Inputs(id);
    const int64_t k = model_->component(id).cols;
    const std::vector<float> values = Values(*store, id);
    ASSERT_EQ(static_cast<int64_t>(values.size()), k * k);
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < k; ++j) {
        double sum = 0;
        for (int64_t t = 0; t < rows; ++t) sum += static_cast<double>(x[t * k + i]) * x[t * k + j];
        // Float sums over 1024 tokens: a relative error of at most 1024 2^-24 of the sum of
        // magnitudes, which Cauchy and Schwarz bound.
        const double size = std::sqrt(diagonal[i]) * std::sqrt(diagonal[j]);
        ASSERT_NEAR(values[i * k + j], sum / static_cast<double>(rows), size * 0x1p-14)
            << id << " " << i << " " << j;
        ASSERT_EQ(values[i * k + j], values[j * k + i]);
      }
      EXPECT_EQ(values[i * k + i], diagonal[i]);
    }
  }
}

TEST_P(GramTest, DoesNotDependOnThreadsNorOnMemory) {
  const auto one = Measure(1);
  const auto more = Measure(4);
  const auto spilled = Measure(2, 0);
  for (const auto& [id, diagonal] : one->moments()) {
    EXPECT_EQ(Values(*more, id), Values(*one, id));
    EXPECT_EQ(Values(*spilled, id), Values(*one, id));
  }
  EXPECT_EQ(more->moments(), one->moments());
}

TEST_P(GramTest, DiagonalsAreTheMoments) {
  Progress progress;
  AssignmentWeights weights = bank_->Reference();
  const auto moments = MeasureInputMoments(*transformer_, &weights, sequences_, 1, &progress);
  ASSERT_TRUE(moments.ok());
  const auto store = Measure(1);
  ASSERT_EQ(store->moments().size(), moments->size());
  for (const auto& [id, values] : *moments) {
    const std::vector<float>& diagonal = store->moments().at(id);
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_NEAR(diagonal[i], values[i], values[i] * 0x1p-14) << id << " " << i;
    }
  }
}

// Every component has its own then, of the inputs that it shares with others.
TEST_P(GramTest, WeighsTokensForEveryComponent) {
  const TokenWeights token_weights = RandomWeights();
  const auto store = Measure(2, 1 << 30, &token_weights);
  const auto spilled = Measure(3, 0, &token_weights);
  Progress progress;
  AssignmentWeights weights = bank_->Reference();
  const auto sample =
      InputSample::Create(*transformer_, &weights, sequences_, 1 << 20, 1, &progress);
  ASSERT_TRUE(sample.ok()) << sample.status();
  const std::vector<ComponentId> sources = InputSources(*model_);
  EXPECT_EQ(store->moments().size(), token_weights.size());
  for (const auto& [id, of_tokens] : token_weights) {
    ASSERT_EQ(static_cast<int64_t>(of_tokens.size()), sample->rows());
    const std::span<const float> x = sample->Inputs(sources[id]);
    const std::vector<float>& diagonal = store->moments().at(id);
    const int64_t k = model_->component(id).cols;
    const std::vector<float> values = Values(*store, id);
    ASSERT_EQ(static_cast<int64_t>(values.size()), k * k);
    for (int64_t i = 0; i < k; ++i) {
      for (int64_t j = 0; j < k; ++j) {
        double sum = 0;
        for (size_t t = 0; t < of_tokens.size(); ++t) {
          sum += static_cast<double>(of_tokens[t]) * x[t * k + i] * x[t * k + j];
        }
        // As without weights, whose roots add three roundings.
        const double size = std::sqrt(diagonal[i]) * std::sqrt(diagonal[j]);
        ASSERT_NEAR(values[i * k + j], sum / static_cast<double>(of_tokens.size()), size * 0x1p-13)
            << id << " " << i << " " << j;
      }
    }
    EXPECT_EQ(Values(*spilled, id), values);
  }

  const auto gptq = MakeGptqEncoder();
  StatsWeightEncoder encoder(*model_, *gptq);
  encoder.SetMoments(store->moments());
  encoder.SetGrams(store.get());
  const Format format = *ParseFormat("int3z-g32");
  for (const auto& [id, diagonal] : store->moments()) {
    if (model_->component(id).layer < 0) continue;  // a tied embedding's is not used as it is
    const Gram own{static_cast<int64_t>(diagonal.size()), Values(*store, id)};
    const auto expected = gptq->Encode(model_->Weight(id), format, {diagonal, &own});
    ASSERT_TRUE(expected.ok()) << expected.status();
    EXPECT_EQ(encoder.Encode(id, format, 1)->bytes, expected->bytes) << id;
  }
}

// A component that is not multiplied has no Gram matrix; one that is multiplied and looked up is
// encoded for both.
TEST_P(GramTest, EveryComponentCanBeEncodedWithThem) {
  const auto store = Measure(1);
  const auto gptq = MakeGptqEncoder();
  StatsWeightEncoder encoder(*model_, *gptq);
  encoder.SetMoments(store->moments());
  encoder.SetGrams(store.get());
  const Format format = *ParseFormat("int3z-g32");
  for (size_t c = 0; c < model_->components().size(); ++c) {
    const auto id = static_cast<ComponentId>(c);
    const auto encoding = encoder.Encode(id, format, 1);
    ASSERT_TRUE(encoding.ok()) << encoding.status();
    const auto again = encoder.Encode(id, format, 3);
    EXPECT_EQ(again->bytes, encoding->bytes);
    const auto clip = *MakeClipEncoder()->Encode(model_->Weight(id), format);
    const bool lookup_only = model_->component(id).kind == ComponentKind::kEmbedding && !GetParam();
    EXPECT_EQ(encoding->bytes == clip.bytes, lookup_only) << model_->component(id).name;
  }
}

TEST_P(GramTest, CanBeInterrupted) {
  class Stop : public Progress {
    bool Interrupted() const override { return true; }
  } stop;
  GramStore store(1 << 30, testing::TempDir());
  AssignmentWeights weights = bank_->Reference();
  const absl::Status status =
      MeasureGrams(*transformer_, &weights, {.sequences = sequences_}, 1, &stop, &store);
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

INSTANTIATE_TEST_SUITE_P(TiedOrNot, GramTest, testing::Bool());

}  // namespace
}  // namespace bitbudget
