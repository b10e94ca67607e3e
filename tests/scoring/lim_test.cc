#include "scoring/lim.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/quantize/rtn_encoder.h"
#include "tests/support/expect_error.h"
#include "tests/support/naive_transformer.h"
#include "tests/support/random_tokens.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

using Sequences = std::vector<std::vector<int32_t>>;

struct Bench {
  explicit Bench(const TestCheckpoint& checkpoint) {
    const TempDir dir;
    WriteCheckpoint(checkpoint, dir.path());
    auto loaded = Model::Load(dir.path(), 1);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    model = *std::move(loaded);
    transformer = std::make_unique<Transformer>(*model, 64);
    encoder = MakeRtnEncoder();
    weight_encoder = std::make_unique<StatsWeightEncoder>(*model, *encoder);
    bank = std::make_unique<EncodingBank>(*model, *weight_encoder, BankOptions());
  }

  absl::StatusOr<LayerScores> Lim(const Sequences& sequences,
                                  int threads = 1,
                                  Progress* watched = nullptr) const {
    Progress silent;
    ScoreContext context;
    context.model = model.get();
    context.transformer = transformer.get();
    context.bank = bank.get();
    context.sequences = sequences;
    context.threads = threads;
    context.progress = watched != nullptr ? watched : &silent;
    return ScoreLim(context);
  }

  std::unique_ptr<Model> model;
  std::unique_ptr<Transformer> transformer;
  std::unique_ptr<Encoder> encoder;
  std::unique_ptr<StatsWeightEncoder> weight_encoder;
  std::unique_ptr<EncodingBank> bank;
};

TinyModelOptions FourLayers() {
  TinyModelOptions options;
  options.layers = 4;
  return options;
}

// Sequences of very different lengths: positions count, not sequences.
Sequences SomeSequences() {
  Sequences sequences;
  for (const int64_t length : {1, 40, 7, 19, 2}) {
    sequences.push_back(RandomTokens(length, 64, 40 + length));
  }
  return sequences;
}

void Zero(const std::string& name, TestCheckpoint* checkpoint) {
  std::string& bytes = checkpoint->Tensor(name).bytes;
  bytes.assign(bytes.size(), '\0');
}

TEST(Lim, IsTheNegatedMeanCosineAcrossEveryLayerAndHalf) {
  TestCheckpoint checkpoint = MakeTinyCheckpoint(FourLayers());
  Zero("model.layers.0.mlp.down_proj.weight", &checkpoint);  // or the first layer leads anyway
  const Bench bench(checkpoint);
  const Sequences sequences = SomeSequences();
  const auto lim = bench.Lim(sequences);
  ASSERT_TRUE(lim.ok()) << lim.status();
  EXPECT_EQ(lim->scorer, "lim");
  EXPECT_TRUE(lim->components.empty());
  ASSERT_EQ(lim->parts.size(), 2u);
  EXPECT_EQ(lim->parts[0].name, "attention");
  EXPECT_EQ(lim->parts[1].name, "mlp");

  const size_t width = 32;
  const NaiveTransformer naive(*bench.model);
  std::vector<double> layers(4), attention(4), mlp(4);
  double positions = 0;
  // A cosine moves by at most 2 |d| / |x| when x does by d; d from how far the definition moves
  // when it is rounded to float on the way (four times that, as in transformer_test).
  double bound = 0;
  for (const auto& tokens : sequences) {
    const NaivePass exact = naive.Run(tokens);
    const NaivePass rounded = naive.Run(tokens, NaiveArithmetic::kFloat);
    positions += static_cast<double>(tokens.size());
    for (size_t t = 0; t < tokens.size(); ++t) {
      const auto norm = [&](size_t s) {
        double sum = 0;
        for (size_t i = t * width; i < (t + 1) * width; ++i) {
          sum += exact.streams[s][i] * exact.streams[s][i];
        }
        return std::sqrt(sum);
      };
      const auto cosine = [&](size_t a, size_t b) {
        double dot = 0;
        for (size_t i = t * width; i < (t + 1) * width; ++i) {
          dot += exact.streams[a][i] * exact.streams[b][i];
        }
        return dot / (norm(a) * norm(b));
      };
      for (size_t b = 0; b < 4; ++b) {
        layers[b] -= cosine(2 * b, 2 * b + 2);
        attention[b] -= cosine(2 * b, 2 * b + 1);
        mlp[b] -= cosine(2 * b + 1, 2 * b + 2);
      }
      for (size_t s = 0; s < exact.streams.size(); ++s) {
        const double moved = 4 * MaxDifference(exact.streams[s], rounded.streams[s]);
        bound = std::max(bound, 2 * 2 * moved * std::sqrt(width) / norm(s));
      }
    }
  }
  EXPECT_LT(bound, 1e-4);
  for (size_t b = 0; b < 4; ++b) {
    EXPECT_NEAR(lim->layers[b], layers[b] / positions, bound);
    EXPECT_NEAR(lim->parts[0].scores[b], attention[b] / positions, bound);
    EXPECT_NEAR(lim->parts[1].scores[b], mlp[b] / positions, bound);
  }

  // Most important first: the largest change of the input.
  std::vector<int> order = {0, 1, 2, 3};
  std::sort(order.begin(), order.end(), [&](int a, int b) { return layers[a] > layers[b]; });
  EXPECT_EQ(lim->order, order);
  EXPECT_NE(order[0], 0);
}

TEST(Lim, LayersThatDoNothingTieAndComeLastInTheirOrder) {
  TestCheckpoint checkpoint = MakeTinyCheckpoint(FourLayers());
  for (const int b : {1, 2}) {
    Zero(absl::StrCat("model.layers.", b, ".self_attn.o_proj.weight"), &checkpoint);
    Zero(absl::StrCat("model.layers.", b, ".mlp.down_proj.weight"), &checkpoint);
  }
  Zero("model.layers.3.mlp.down_proj.weight", &checkpoint);
  const Bench bench(checkpoint);
  const auto lim = bench.Lim(SomeSequences());
  ASSERT_TRUE(lim.ok()) << lim.status();
  // The stream is bitwise unchanged; its cosine with itself is 1 up to three roundings of double.
  EXPECT_NEAR(lim->layers[1], -1, 1e-14);
  EXPECT_EQ(lim->layers[2], lim->layers[1]);
  EXPECT_EQ(lim->parts[0].scores[1], lim->layers[1]);
  EXPECT_EQ(lim->parts[1].scores[1], lim->layers[1]);
  EXPECT_NEAR(lim->parts[1].scores[3], -1, 1e-14);
  EXPECT_EQ(lim->layers[3], lim->parts[0].scores[3]);
  EXPECT_EQ(lim->order[2], 1);
  EXPECT_EQ(lim->order[3], 2);
}

TEST(Lim, AZeroStreamCountsAsCosineZero) {
  TestCheckpoint checkpoint = MakeTinyCheckpoint(FourLayers());
  // A first token of zeros stays zero: there are no biases.
  std::string& embedding = checkpoint.Tensor("model.embed_tokens.weight").bytes;
  std::fill_n(embedding.begin() + 5 * 32 * 4, 32 * 4, '\0');
  const Bench bench(checkpoint);
  const auto zero = bench.Lim({{5}});
  ASSERT_TRUE(zero.ok()) << zero.status();
  EXPECT_EQ(zero->layers, std::vector<double>(4, 0.0));
  EXPECT_EQ(zero->order, (std::vector<int>{0, 1, 2, 3}));
  const auto one = bench.Lim({{6}});
  const auto both = bench.Lim({{5}, {6}});
  ASSERT_TRUE(one.ok() && both.ok());
  for (int b = 0; b < 4; ++b) EXPECT_EQ(both->layers[b], one->layers[b] / 2);
}

TEST(Lim, DoesNotDependOnThreads) {
  const Bench bench(MakeTinyCheckpoint(FourLayers()));
  const auto one = bench.Lim(SomeSequences(), 1);
  ASSERT_TRUE(one.ok()) << one.status();
  for (const int threads : {2, 4, 9}) {
    const auto more = bench.Lim(SomeSequences(), threads);
    ASSERT_TRUE(more.ok()) << more.status();
    EXPECT_EQ(more->layers, one->layers);
    EXPECT_EQ(more->parts[0].scores, one->parts[0].scores);
    EXPECT_EQ(more->parts[1].scores, one->parts[1].scores);
    EXPECT_EQ(more->order, one->order);
  }
}

TEST(Lim, ReportsAStreamThatIsNotFinite) {
  TinyModelOptions options = FourLayers();
  options.weight_scale = 1e30;
  const Bench bench(MakeTinyCheckpoint(options));
  ExpectError(
      bench.Lim({{3, 4}}).status(), absl::StatusCode::kInternal, {"not finite", "after layer 0"});
}

TEST(Lim, CanBeInterrupted) {
  class Stop : public Progress {
   public:
    bool Interrupted() const override { return --calls_left < 0; }
    mutable std::atomic<int> calls_left = 0;
  } stop;
  const Bench bench(MakeTinyCheckpoint(FourLayers()));
  for (const int calls : {0, 3}) {
    stop.calls_left = calls;
    EXPECT_TRUE(absl::IsCancelled(bench.Lim(SomeSequences(), 2, &stop).status()));
  }
}

}  // namespace
}  // namespace bitbudget
