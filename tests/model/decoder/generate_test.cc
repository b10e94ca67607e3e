#include "runtime/model/decoder/generate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/model/architecture/families.h"
#include "runtime/model/decoder/token_pass.h"
#include "tests/support/expect_error.h"
#include "tests/support/random_tokens.h"
#include "tests/support/reference_weights.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

bool SameGeneration(const Generation& a, const Generation& b) {
  return a.tokens == b.tokens && a.margins == b.margins;
}

class GenerateTest : public testing::Test {
 protected:
  explicit GenerateTest(const TinyModelOptions& options = {}) {
    const TinyModel tiny(options);
    model_ = *Model::Load(tiny.path(), 1);
    transformer_ = std::make_unique<Transformer>(*model_, 100);
    weights_ = std::make_unique<ReferenceWeights>(*model_, 1);
    for (size_t i = 0; i < 30; ++i) {
      prompts_.push_back(RandomTokens(1 + static_cast<int64_t>(i * 7 % 20), 64, 100 + i));
    }
    options_.max_tokens = 20;
  }

  absl::StatusOr<std::vector<Generation>> TryGenerate(
      const std::vector<std::vector<int32_t>>& prompts, const GenerateOptions& options) {
    return Generate(*transformer_, weights_.get(), prompts, options, &progress_);
  }
  std::vector<Generation> MustGenerate(const std::vector<std::vector<int32_t>>& prompts,
                                       const GenerateOptions& options) {
    auto result = TryGenerate(prompts, options);
    EXPECT_TRUE(result.ok()) << result.status();
    return *std::move(result);
  }

  // Logits of the last token, from a pass over all tokens without a cache.
  std::vector<float> LastLogits(const std::vector<int32_t>& tokens) {
    const ModelConfig& config = model_->config();
    const int64_t rows = static_cast<int64_t>(tokens.size());
    std::vector<float> x(rows * config.hidden_size);
    std::vector<float> logits(config.vocab_size);
    TransformerWorkspace workspace;
    transformer_->Embed(weights_->set(), tokens, x.data());
    const SequenceRows whole{rows, nullptr};
    for (int stage = 1; stage + 1 < NumStages(config); ++stage) {
      transformer_->RunStage(stage, weights_->set(), {&whole, 1}, x.data(), &workspace);
    }
    transformer_->Logits(weights_->set(),
                         x.data() + (rows - 1) * config.hidden_size,
                         config.hidden_size,
                         1,
                         logits.data(),
                         &workspace);
    return logits;
  }

  std::unique_ptr<Model> model_;
  std::unique_ptr<Transformer> transformer_;
  std::unique_ptr<ReferenceWeights> weights_;
  std::vector<std::vector<int32_t>> prompts_;
  GenerateOptions options_;
  Progress progress_;
};

// For every architecture; where there are windows, they are shorter than most sequences.
class GenerateArchitectures : public GenerateTest,
                              public testing::WithParamInterface<Architecture> {
 protected:
  static TinyModelOptions Options() {
    TinyModelOptions options;
    options.architecture = GetParam();
    if (FamilyOf(GetParam()).window_rule != WindowRule::kNone) options.sliding_window = 9;
    return options;
  }
  GenerateArchitectures() : GenerateTest(Options()) {}
};

TEST_P(GenerateArchitectures, TakesTheArgmaxOfAFullPassAtEveryStep) {
  options_.stop_at_eos = false;
  const auto generations = MustGenerate(prompts_, options_);
  ASSERT_EQ(generations.size(), prompts_.size());
  for (size_t i = 0; i < 5; ++i) {
    std::vector<int32_t> tokens = prompts_[i];
    ASSERT_EQ(generations[i].tokens.size(), 20u);
    ASSERT_EQ(generations[i].margins.size(), 20u);
    for (int step = 0; step < 20; ++step) {
      std::vector<float> logits = LastLogits(tokens);
      const auto best = std::max_element(logits.begin(), logits.end());
      ASSERT_EQ(generations[i].tokens[step], best - logits.begin());
      tokens.push_back(generations[i].tokens[step]);
      std::sort(logits.begin(), logits.end());
      ASSERT_EQ(generations[i].margins[step], logits[63] - logits[62]);
    }
  }
}

TEST_P(GenerateArchitectures, FinalStreamsAreThoseOfAFullPassBitForBit) {
  std::vector<std::vector<float>> streams;
  options_.final_streams = &streams;
  options_.threads = 3;
  // Several groups, one after the other.
  options_.max_kv_bytes = 7 * KvCacheBytes(model_->config(), 40);
  const auto generations = MustGenerate(prompts_, options_);
  ASSERT_EQ(streams.size(), prompts_.size());
  for (size_t i = 0; i < prompts_.size(); ++i) {
    std::vector<int32_t> tokens = prompts_[i];
    tokens.insert(tokens.end(), generations[i].tokens.begin(), generations[i].tokens.end() - 1);
    const std::vector<std::vector<int32_t>> sequences = {tokens};
    TokenPass pass(*transformer_, sequences, 1);
    std::vector<float> x(tokens.size() * model_->config().hidden_size);
    const int head = NumStages(model_->config()) - 1;
    ASSERT_TRUE(pass.Advance(weights_.get(), 0, head, x.data(), &progress_).ok());
    EXPECT_EQ(streams[i], x) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(All,
                         GenerateArchitectures,
                         testing::ValuesIn(AllArchitectures()),
                         [](const auto& info) {
                           return std::string(ArchitectureName(info.param));
                         });

TEST_F(GenerateTest, APromptLongerThanOnePrefillPassIsTheSame) {
  TinyModelOptions options;
  options.max_positions = 600;
  const TinyModel tiny(options);
  model_ = *Model::Load(tiny.path(), 1);
  transformer_ = std::make_unique<Transformer>(*model_, 600);
  weights_ = std::make_unique<ReferenceWeights>(*model_, 1);
  options_.max_tokens = 1;
  for (const int64_t length : {240, 241, 242, 500}) {
    const std::vector<int32_t> prompt = RandomTokens(length, 64, 9);
    const Generation generation = MustGenerate({prompt}, options_)[0];
    std::vector<float> logits = LastLogits(prompt);
    EXPECT_EQ(generation.tokens[0], ArgMax(logits));
    std::sort(logits.begin(), logits.end());
    EXPECT_EQ(generation.margins[0], logits[63] - logits[62]) << length;
  }
}

TEST_F(GenerateTest, ResultsDependNeitherOnBatchNorThreadsNorOrder) {
  for (const int64_t greedy : {std::numeric_limits<int64_t>::max(), int64_t{3}}) {
    options_.greedy_tokens = greedy;
    options_.streams.clear();
    for (size_t i = 0; i < prompts_.size(); ++i) options_.streams.push_back(1000 + i);
    options_.threads = 1;
    const auto together = MustGenerate(prompts_, options_);
    for (const int threads : {2, 4, 40}) {
      options_.threads = threads;
      const auto again = MustGenerate(prompts_, options_);
      for (size_t i = 0; i < prompts_.size(); ++i) {
        EXPECT_TRUE(SameGeneration(again[i], together[i])) << i << ", " << threads << " threads";
      }
    }
    GenerateOptions reversed = options_;
    reversed.threads = 2;
    std::reverse(reversed.streams.begin(), reversed.streams.end());
    const auto backwards = MustGenerate({prompts_.rbegin(), prompts_.rend()}, reversed);
    for (size_t i = 0; i < prompts_.size(); ++i) {
      EXPECT_TRUE(SameGeneration(backwards[prompts_.size() - 1 - i], together[i])) << i;
      GenerateOptions alone = options_;
      alone.threads = 1 + static_cast<int>(i % 3);
      alone.streams = {1000 + i};
      EXPECT_TRUE(SameGeneration(MustGenerate({prompts_[i]}, alone)[0], together[i])) << i;
    }
  }
}

TEST_F(GenerateTest, StopsBehindAnEndOfSequenceToken) {
  options_.stop_at_eos = false;
  const auto endless = MustGenerate(prompts_, options_);
  // Make tokens that do come up the end of sequence.
  TestCheckpoint checkpoint = MakeTinyCheckpoint({});
  const int32_t first = endless[0].tokens[4];
  const int32_t second = endless[1].tokens[0];
  checkpoint.SetField("eos_token_id", absl::StrCat("[", first, ",", second, "]"));
  TempDir dir;
  WriteCheckpoint(checkpoint, dir.path());
  const auto model = *Model::Load(dir.path(), 1);
  const Transformer transformer(*model, 100);
  options_.stop_at_eos = true;
  const auto stopped = Generate(transformer, weights_.get(), prompts_, options_, &progress_);
  ASSERT_TRUE(stopped.ok()) << stopped.status();
  int early = 0;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    const auto& all = endless[i].tokens;
    const int32_t eos[] = {first, second};
    auto end = std::find_first_of(all.begin(), all.end(), std::begin(eos), std::end(eos));
    if (end != all.end()) ++end, ++early;
    EXPECT_EQ((*stopped)[i].tokens, std::vector<int32_t>(all.begin(), end)) << i;
    EXPECT_EQ((*stopped)[i].margins.size(), (*stopped)[i].tokens.size());
  }
  EXPECT_GE(early, 2);
}

TEST_F(GenerateTest, SamplingIsSeededAndStartsBehindTheGreedyTokens) {
  options_.stop_at_eos = false;
  const auto greedy = MustGenerate(prompts_, options_);
  options_.greedy_tokens = 4;
  options_.seed = 7;
  const auto a = MustGenerate(prompts_, options_);
  const auto b = MustGenerate(prompts_, options_);
  options_.seed = 8;
  const auto c = MustGenerate(prompts_, options_);
  int as_seed_8 = 0;
  int as_greedy = 0;
  for (size_t i = 0; i < prompts_.size(); ++i) {
    EXPECT_EQ(a[i].tokens, b[i].tokens);
    as_seed_8 += a[i].tokens == c[i].tokens;
    as_greedy += a[i].tokens == greedy[i].tokens;
    EXPECT_TRUE(std::equal(a[i].tokens.begin(), a[i].tokens.begin() + 4, greedy[i].tokens.begin()));
    // End-of-sequence tokens are not sampled when they do not stop.
    EXPECT_EQ(std::count(a[i].tokens.begin() + 4, a[i].tokens.end(), 2), 0);
  }
  EXPECT_EQ(as_seed_8, 0);
  EXPECT_EQ(as_greedy, 0);
}

TEST_F(GenerateTest, EqualPromptsWithoutStreamsAreSampledApart) {
  options_.greedy_tokens = 0;
  const auto generations = MustGenerate({{5, 6}, {5, 6}, {5, 6}}, options_);
  EXPECT_NE(generations[0].tokens, generations[1].tokens);
  EXPECT_NE(generations[1].tokens, generations[2].tokens);
  options_.streams = {4, 4, 4};
  const auto same = MustGenerate({{5, 6}, {5, 6}, {5, 6}}, options_);
  EXPECT_EQ(same[0].tokens, same[1].tokens);
  EXPECT_EQ(same[1].tokens, same[2].tokens);
}

TEST_F(GenerateTest, SamplesFollowTheSoftmax) {
  // One step from one prompt, many streams: Pearson's chi-square of the counts against softmax.
  constexpr int kDraws = 4000;
  const std::vector<int32_t> prompt = {5, 6, 7};
  options_.greedy_tokens = 0;
  options_.max_tokens = 1;
  const auto draws = MustGenerate(std::vector<std::vector<int32_t>>(kDraws, prompt), options_);
  const std::vector<float> logits = LastLogits(prompt);
  double total = 0;
  for (const float logit : logits) total += std::exp(static_cast<double>(logit));
  std::vector<int> counts(64);
  for (const Generation& draw : draws) ++counts[draw.tokens[0]];
  double chi_square = 0;
  int cells = 0;
  for (int v = 0; v < 64; ++v) {
    const double expected = kDraws * std::exp(static_cast<double>(logits[v])) / total;
    if (expected < 5) continue;  // where the statistic's distribution is not yet chi-square
    ++cells;
    chi_square += (counts[v] - expected) * (counts[v] - expected) / expected;
  }
  ASSERT_GT(cells, 30);
  // Mean `cells`, variance 2 * cells: five deviations above.
  EXPECT_LT(chi_square, cells + 5 * std::sqrt(2.0 * cells));
}

TEST(ArgMaxTest, IsTheLowestIndexAmongTheLargest) {
  EXPECT_EQ(ArgMax(std::vector<float>{1, 3, 3, 2}), 1);
  EXPECT_EQ(ArgMax(std::vector<float>{-0.0f, 0.0f}), 0);
  EXPECT_EQ(ArgMax(std::vector<float>{-5}), 0);
  std::vector<float> long_row(1000, -1);
  for (const size_t at : {999, 700, 256, 255, 8, 3}) {
    long_row[at] = 2;  // the same value as further on
    EXPECT_EQ(ArgMax(long_row), static_cast<int32_t>(at));
  }
  EXPECT_EQ(ArgMax({}), -1);
}

TEST(ArgMaxTest, IsMinusOneWhenAnyValueIsNotFinite) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (const float bad : {nan, inf, -inf}) {
    for (int i = 0; i < 3; ++i) {
      std::vector<float> values = {1, 2, 3};
      values[i] = bad;
      EXPECT_EQ(ArgMax(values), -1) << bad << " at " << i;
    }
  }
}

TEST_F(GenerateTest, RefusesWhatCannotBeContinued) {
  ExpectError(TryGenerate({{1, 2}, {}}, options_).status(),
              absl::StatusCode::kInvalidArgument,
              {"prompt 1", "empty"});
  ExpectError(TryGenerate({{1, 64}}, options_).status(),
              absl::StatusCode::kInvalidArgument,
              {"prompt 0", "token 64", "vocabulary of 64"});
  ExpectError(TryGenerate({{1}, {2}, {3, -1}}, options_).status(),
              absl::StatusCode::kInvalidArgument,
              {"prompt 2", "token -1"});
  options_.max_tokens = 0;
  ExpectError(TryGenerate({{1}}, options_).status(),
              absl::StatusCode::kInvalidArgument,
              {"max_tokens", "0"});
  options_.max_tokens = 5;
  options_.threads = 0;
  ExpectError(
      TryGenerate({{1}}, options_).status(), absl::StatusCode::kInvalidArgument, {"threads", "0"});
}

TEST_F(GenerateTest, FillsTheContextToTheLastPositionAndNotBeyond) {
  // The last new token is never fed: 81 + 20 tokens take 100 positions.
  EXPECT_EQ(MustGenerate({RandomTokens(81, 64, 3)}, options_)[0].tokens.size(), 20u);
  ExpectError(TryGenerate({RandomTokens(82, 64, 3)}, options_).status(),
              absl::StatusCode::kInvalidArgument,
              {"prompt 0", "82 prompt tokens", "20 new", "context of 100"});
  options_.max_tokens = std::numeric_limits<int64_t>::max();
  ExpectError(TryGenerate({{1, 2, 3}}, options_).status(),
              absl::StatusCode::kInvalidArgument,
              {"prompt 0", "context of 100"});
}

TEST_F(GenerateTest, NothingToContinueIsFine) { EXPECT_TRUE(MustGenerate({}, options_).empty()); }

// Weights so large that the residual stream overflows.
TinyModelOptions HugeWeights() {
  TinyModelOptions options;
  options.weight_scale = 1e30;
  return options;
}

class OverflowingModelTest : public GenerateTest {
 protected:
  OverflowingModelTest() : GenerateTest(HugeWeights()) {}
};

TEST_F(OverflowingModelTest, ReportsTheSequence) {
  options_.threads = 2;
  ExpectError(TryGenerate({{1, 2, 3}}, options_).status(),
              absl::StatusCode::kInternal,
              {"sequence 0", "not finite", "after 3 tokens"});
}

class InterruptedProgress : public Progress {
 public:
  bool Interrupted() const override { return --calls_left < 0; }
  mutable std::atomic<int> calls_left = 0;
};

TEST_F(GenerateTest, StopsWhenInterrupted) {
  for (const int calls : {0, 1, 30}) {
    InterruptedProgress progress;
    progress.calls_left = calls;
    options_.threads = 2;
    options_.stop_at_eos = false;
    EXPECT_EQ(
        Generate(*transformer_, weights_.get(), prompts_, options_, &progress).status().code(),
        absl::StatusCode::kCancelled);
  }
}

}  // namespace
}  // namespace bitbudget
