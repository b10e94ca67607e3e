#include "runtime/model/decoder/transformer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "runtime/quantize/rtn_encoder.h"
#include "tests/support/naive_transformer.h"
#include "tests/support/random_tokens.h"
#include "tests/support/reference_weights.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

std::unique_ptr<Model> LoadTiny(const TinyModelOptions& options) {
  const TinyModel tiny(options);  // the weights stay mapped when the files are gone
  auto model = Model::Load(tiny.path(), 1);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

// Tokens of one sequence fed in chunks of the given size; size 0: all at once and without a cache.
struct Feed {
  std::vector<int32_t> tokens;
  int64_t chunk = 0;
};

// Logits [position][vocab] of sequences that run together, a chunk of each in every round.
std::vector<std::vector<float>> RunTogether(const Transformer& transformer,
                                            const WeightSet& weights,
                                            const std::vector<Feed>& feeds,
                                            int threads = 1) {
  const ModelConfig& config = transformer.model().config();
  TransformerWorkspace workspace;
  workspace.threads = threads;
  std::vector<KvCache> caches;
  for (const Feed& feed : feeds) {
    caches.emplace_back(config, static_cast<int64_t>(feed.tokens.size()));
  }
  std::vector<std::vector<float>> logits(feeds.size());
  std::vector<size_t> fed(feeds.size());
  for (;;) {
    std::vector<SequenceRows> rows;
    std::vector<size_t> who;
    std::vector<int32_t> tokens;
    for (size_t i = 0; i < feeds.size(); ++i) {
      const size_t left = feeds[i].tokens.size() - fed[i];
      const size_t take = feeds[i].chunk == 0 ? left : std::min<size_t>(left, feeds[i].chunk);
      if (take == 0) continue;
      const auto begin = feeds[i].tokens.begin() + static_cast<int64_t>(fed[i]);
      tokens.insert(tokens.end(), begin, begin + static_cast<int64_t>(take));
      rows.push_back({static_cast<int64_t>(take), feeds[i].chunk == 0 ? nullptr : &caches[i]});
      who.push_back(i);
      fed[i] += take;
    }
    if (rows.empty()) return logits;
    const int64_t count = static_cast<int64_t>(tokens.size());
    std::vector<float> x(count * config.hidden_size);
    transformer.Embed(weights, tokens, x.data());
    for (int stage = 1; stage + 1 < NumStages(config); ++stage) {
      transformer.RunStage(stage, weights, rows, x.data(), &workspace);
    }
    std::vector<float> y(count * config.vocab_size);
    transformer.Logits(weights, x.data(), config.hidden_size, count, y.data(), &workspace);
    auto from = y.begin();
    for (size_t i = 0; i < rows.size(); ++i) {
      const auto end = from + rows[i].rows * config.vocab_size;
      logits[who[i]].insert(logits[who[i]].end(), from, end);
      from = end;
    }
  }
}

std::vector<float> RunAlone(const Transformer& transformer,
                            const WeightSet& weights,
                            const std::vector<int32_t>& tokens) {
  return RunTogether(transformer, weights, {{tokens}})[0];
}

std::vector<double> Widen(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

// How far rounding may take the runtime from the definition. The definition rounded to float as it
// goes does as many roundings along every path as the runtime, in another order, so both are off by
// errors of one distribution; the largest of a few thousand logits' errors differs little between
// two draws, and a factor of 4 is far outside of that. A wrong formula is off by orders more.
// `sane`: the bound must be below this share of the largest logit to prove anything.
double RoundingBound(const NaivePass& exact, const NaivePass& rounded, double sane) {
  double largest = 0;
  for (const double logit : exact.logits) largest = std::max(largest, std::abs(logit));
  const double bound = 4 * MaxDifference(exact.logits, rounded.logits);
  EXPECT_LT(bound, sane * largest);
  return bound;
}

struct Variant {
  std::string name;
  TinyModelOptions options;
};

void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

std::vector<Variant> Variants() {
  std::vector<Variant> variants;
  const auto add = [&](const char* name, auto change) {
    TinyModelOptions options;
    options.seed = 10 + variants.size();
    change(options);
    variants.push_back({name, options});
  };
  using O = TinyModelOptions;
  add("Plain", [](O&) {});
  add("SizesThatFillNoPanel", [](O& o) {
    o.hidden = 20, o.heads = 3, o.kv_heads = 1, o.head_dim = 6, o.ffn = 27, o.vocab = 37;
  });
  add("OneKeyValueHead", [](O& o) { o.kv_heads = 1; });
  add("AsManyKeyValueHeads", [](O& o) { o.kv_heads = 4; });
  add("WideHeads", [](O& o) { o.head_dim = 24; });
  add("TiedHead", [](O& o) { o.tied = true; });
  add("AttentionBias", [](O& o) { o.attention_bias = true; });
  add("MlpBias", [](O& o) { o.mlp_bias = true; });
  add("Mistral", [](O& o) { o.architecture = Architecture::kMistral, o.head_dim = 16; });
  add("MistralWindowAsLongAsTheContext",
      [](O& o) { o.architecture = Architecture::kMistral, o.sliding_window = 128; });
  add("RopeTheta", [](O& o) { o.rope_theta = 500000; });
  add("RopeLinear", [](O& o) { o.rope_scaling = R"({"rope_type": "linear", "factor": 4.0})"; });
  // Of the 8 wavelengths 6, 20, 63, ... one is below 8, two are in between, five are above 40.
  add("RopeLlama3", [](O& o) {
    o.head_dim = 16;
    o.rope_scaling = R"({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 0.8,
                         "high_freq_factor": 4.0, "original_max_position_embeddings": 32})";
  });
  using A = Architecture;
  add("MistralWindow", [](O& o) { o.architecture = A::kMistral, o.sliding_window = 7; });
  add("MistralWindowOfOne", [](O& o) { o.architecture = A::kMistral, o.sliding_window = 1; });
  add("Qwen2", [](O& o) { o.architecture = A::kQwen2; });
  add("Qwen2Window", [](O& o) { o.architecture = A::kQwen2, o.sliding_window = 20; });
  add("Qwen3", [](O& o) { o.architecture = A::kQwen3, o.head_dim = 12; });
  add("Qwen3BiasAndWindow", [](O& o) {
    o.architecture = A::kQwen3, o.head_dim = 6, o.attention_bias = true, o.sliding_window = 9;
  });
  add("Gemma2", [](O& o) {
    o.architecture = A::kGemma2, o.head_dim = 12, o.layers = 3;
    o.fields = R"({"query_pre_attn_scalar": 5})";
  });
  add("Gemma2WithoutCaps", [](O& o) {
    o.architecture = A::kGemma2;
    o.fields = R"({"attn_logit_softcapping": null, "final_logit_softcapping": null})";
  });
  add("Gemma2SizesThatFillNoPanel", [](O& o) {
    o.architecture = A::kGemma2, o.sliding_window = 5;
    o.hidden = 20, o.heads = 3, o.kv_heads = 1, o.head_dim = 6, o.ffn = 27, o.vocab = 37;
  });
  add("Gemma3", [](O& o) {
    o.architecture = A::kGemma3, o.head_dim = 12, o.layers = 7;
    o.fields = R"({"query_pre_attn_scalar": 50})";
  });
  add("Gemma3LinearAndCaps", [](O& o) {
    o.architecture = A::kGemma3;
    o.rope_scaling = R"({"rope_type": "linear", "factor": 8.0})";
    o.fields = R"({"attn_logit_softcapping": 1.5, "final_logit_softcapping": 2.5})";
  });
  add("Gemma3LayerTypes", [](O& o) {
    o.architecture = A::kGemma3, o.layers = 3, o.heads = 6;
    o.head_dim = 10;
    o.fields = R"({"layer_types": ["full_attention", "sliding_attention", "full_attention"]})";
  });
  add("Phi3", [](O& o) { o.architecture = A::kPhi3; });
  add("Phi3WindowAndPartialRotation", [](O& o) {
    o.architecture = A::kPhi3, o.sliding_window = 13, o.head_dim = 16;
    o.fields = R"({"partial_rotary_factor": 0.75})";
  });
  add("Phi3LongRope", [](O& o) {
    o.architecture = A::kPhi3;
    o.rope_scaling = R"({"type": "longrope", "short_factor": [1, 1.25, 3, 2.5],
                         "long_factor": [1.5, 2, 9, 30]})";
  });
  add("Half", [](O& o) { o.dtype = kFormatF16; });
  add("BFloat16", [](O& o) { o.dtype = kFormatBF16, o.tied = true; });
  add("Deep", [](O& o) { o.layers = 6; });
  add("LargeActivations", [](O& o) { o.weight_scale = 3; });
  return variants;
}

class TransformerVariants : public testing::TestWithParam<Variant> {};

TEST_P(TransformerVariants, ComputeWhatTheDefinitionSays) {
  const auto model = LoadTiny(GetParam().options);
  const std::vector<int32_t> tokens = RandomTokens(45, model->config().vocab_size, 3);
  const NaiveTransformer naive(*model);
  const NaivePass exact = naive.Run(tokens);
  const double bound = RoundingBound(exact, naive.Run(tokens, NaiveArithmetic::kFloat), 1e-4);

  const Transformer transformer(*model, 45);
  const ReferenceWeights weights(*model, 1);
  const auto logits = Widen(RunAlone(transformer, weights.set(), tokens));
  EXPECT_LE(MaxDifference(logits, exact.logits), bound);
}

TEST_P(TransformerVariants, RunEncodedWeightsAsTheirDecodedValues) {
  const auto model = LoadTiny(GetParam().options);
  const std::vector<int32_t> tokens = RandomTokens(30, model->config().vocab_size, 4);
  const char* names[] = {
      "int8", "int4-g32", "int3z-g64", "bf16", "int8z-g128", "f16", "int4-g32+s20", "bf16+2:4"};
  const auto encoder = MakeRtnEncoder();
  NaiveTransformer naive(*model);
  std::vector<std::unique_ptr<ComponentWeights>> int16, f32;
  WeightSet int16_set, f32_set;
  for (size_t c = 0; c < model->components().size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    const auto format = ParseFormat(names[c % std::size(names)]);
    ASSERT_TRUE(format.ok()) << format.status();
    const auto encoding = encoder->Encode(model->Weight(id), *format);
    ASSERT_TRUE(encoding.ok()) << encoding.status();
    naive.SetWeights(id, *encoding);
    const WeightUse use = UseOf(*model, id);
    int16.push_back(std::make_unique<ComponentWeights>(*encoding, Activations::kInt16, use));
    f32.push_back(std::make_unique<ComponentWeights>(*encoding, Activations::kF32, use));
    int16_set.components.push_back(int16.back().get());
    f32_set.components.push_back(f32.back().get());
  }
  const Transformer transformer(*model, 30);
  const NaivePass exact = naive.Run(tokens);
  const double f32_bound = RoundingBound(exact, naive.Run(tokens, NaiveArithmetic::kFloat), 1e-4);
  EXPECT_LE(MaxDifference(Widen(RunAlone(transformer, f32_set, tokens)), exact.logits), f32_bound);
  // Activations of 16 bits: their own rounding, found the same way, on top.
  const double int16_bound =
      f32_bound + RoundingBound(exact, naive.Run(tokens, NaiveArithmetic::kInt16), 1e-2);
  EXPECT_LE(MaxDifference(Widen(RunAlone(transformer, int16_set, tokens)), exact.logits),
            int16_bound);
}

// A removed layer is not computed; the result is the definition's with zeros for its weights.
TEST_P(TransformerVariants, ARemovedLayerCostsNothing) {
  if (GetParam().options.layers < 2) return;
  const auto model = LoadTiny(GetParam().options);
  const std::vector<int32_t> tokens = RandomTokens(20, model->config().vocab_size, 7);
  NaiveTransformer naive(*model);
  const ReferenceWeights reference(*model, 1);
  WeightSet weights = reference.set();
  std::vector<std::unique_ptr<ComponentWeights>> removed;
  for (size_t c = 0; c < model->components().size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    if (model->component(id).layer != 1) continue;
    const auto encoding = MakeRtnEncoder()->Encode(model->Weight(id), *ParseFormat("removed"));
    ASSERT_TRUE(encoding.ok()) << encoding.status();
    naive.SetWeights(id, *encoding);
    removed.push_back(std::make_unique<ComponentWeights>(*encoding, Activations::kInt16));
    EXPECT_EQ(removed.back()->bytes(), 0);
    weights.components[c] = removed.back().get();
  }
  ASSERT_EQ(removed.size(), 7u);
  const bool biased = !model->layer(1).o_bias.empty() || !model->layer(1).down_bias.empty();
  const Transformer transformer(*model, 20);
  const NaivePass exact = naive.Run(tokens);
  const double bound = RoundingBound(exact, naive.Run(tokens, NaiveArithmetic::kFloat), 1e-4);
  const std::vector<float> whole = RunAlone(transformer, weights, tokens);
  EXPECT_LE(MaxDifference(Widen(whole), exact.logits), bound);
  for (const int64_t chunk : {1, 7}) {
    EXPECT_EQ(RunTogether(transformer, weights, {{tokens, chunk}})[0], whole) << chunk;
  }
  if (biased) return;
  TransformerWorkspace workspace;
  workspace.observe_input = [](ComponentId, const float*, int64_t, int64_t) {
    ADD_FAILURE() << "a product ran";
  };
  const std::vector<SequenceRows> rows = {{20, nullptr}};
  std::vector<float> x(20 * model->config().hidden_size, 0.5f);
  const std::vector<float> before = x;
  for (const int stage : {3, 4}) {
    transformer.RunStage(stage, weights, rows, x.data(), &workspace);
  }
  EXPECT_EQ(x, before);
}

TEST_P(TransformerVariants, AnyChunkingGivesTheSameBits) {
  const auto model = LoadTiny(GetParam().options);
  const std::vector<int32_t> tokens = RandomTokens(45, model->config().vocab_size, 5);
  const Transformer transformer(*model, 45);
  const ReferenceWeights weights(*model, 1);
  const std::vector<float> whole = RunAlone(transformer, weights.set(), tokens);
  for (const int64_t chunk : {1, 2, 7, 45}) {
    EXPECT_EQ(RunTogether(transformer, weights.set(), {{tokens, chunk}})[0], whole) << chunk;
  }
}

// With int8 activations the products of one input ask for several packings of it.
TEST_P(TransformerVariants, AnyChunkingOfMixedInt8FormatsGivesTheSameBits) {
  const auto model = LoadTiny(GetParam().options);
  const std::vector<int32_t> tokens = RandomTokens(30, model->config().vocab_size, 6);
  const char* names[] = {"int8", "int4-g32", "int4z-g64", "bf16", "int8z-g128", "int4-g32"};
  const auto encoder = MakeRtnEncoder();
  std::vector<std::unique_ptr<ComponentWeights>> components;
  WeightSet weights;
  for (size_t c = 0; c < model->components().size(); ++c) {
    const auto format = ParseFormat(names[c % std::size(names)]);
    ASSERT_TRUE(format.ok()) << format.status();
    const auto encoding = encoder->Encode(model->Weight(static_cast<ComponentId>(c)), *format);
    ASSERT_TRUE(encoding.ok()) << encoding.status();
    components.push_back(std::make_unique<ComponentWeights>(
        *encoding, Activations::kInt8, UseOf(*model, static_cast<ComponentId>(c))));
    weights.components.push_back(components.back().get());
  }
  const Transformer transformer(*model, 30);
  const std::vector<float> whole = RunAlone(transformer, weights, tokens);
  for (const int64_t chunk : {1, 7}) {
    EXPECT_EQ(RunTogether(transformer, weights, {{tokens, chunk}})[0], whole) << chunk;
  }
}

INSTANTIATE_TEST_SUITE_P(All,
                         TransformerVariants,
                         testing::ValuesIn(Variants()),
                         [](const auto& info) { return info.param.name; });

TEST(Transformer, SequencesDoNotSeeEachOther) {
  const auto model = LoadTiny({});
  const Transformer transformer(*model, 64);
  const ReferenceWeights reference(*model, 1);
  WeightSet rounded = reference.set();
  rounded.round_activations = true;
  std::vector<Feed> feeds;
  const int64_t lengths[] = {1, 13, 6, 40, 2, 25};
  const int64_t chunks[] = {0, 3, 1, 0, 1, 11};
  for (size_t i = 0; i < std::size(lengths); ++i) {
    feeds.push_back({RandomTokens(lengths[i], 64, 50 + i), chunks[i]});
  }
  for (const WeightSet* weights : {&reference.set(), static_cast<const WeightSet*>(&rounded)}) {
    std::vector<std::vector<float>> alone;
    for (const Feed& feed : feeds) alone.push_back(RunAlone(transformer, *weights, feed.tokens));
    EXPECT_EQ(RunTogether(transformer, *weights, feeds), alone);
    EXPECT_EQ(RunTogether(transformer, *weights, {feeds.rbegin(), feeds.rend()}),
              (std::vector(alone.rbegin(), alone.rend())));
  }
  EXPECT_NE(RunAlone(transformer, rounded, feeds[3].tokens),
            RunAlone(transformer, reference.set(), feeds[3].tokens));
}

TEST(Transformer, ThreadsOfTheProductsChangeNothing) {
  // Several panel chunks and row layers for every product (runtime/kernels/linear.cc).
  TinyModelOptions options;
  options.hidden = 144;
  options.ffn = 200;
  options.vocab = 210;
  options.max_positions = 260;
  const auto model = LoadTiny(options);
  const Transformer transformer(*model, 260);
  const ReferenceWeights weights(*model, 1);
  const std::vector<Feed> feeds = {{RandomTokens(250, 210, 1), 0}, {RandomTokens(5, 210, 2), 1}};
  const auto one = RunTogether(transformer, weights.set(), feeds, 1);
  EXPECT_EQ(RunTogether(transformer, weights.set(), feeds, 2), one);
  EXPECT_EQ(RunTogether(transformer, weights.set(), feeds, 4), one);
}

TEST(Rope, FrequenciesAreThePublishedOnes) {
  constexpr double kTheta = 500000;
  const RopeScaling llama31 = {
      .type = RopeType::kLlama3,
      .factor = 8,
      .low_freq_factor = 1,
      .high_freq_factor = 4,
      .original_max_position = 8192,
  };
  const std::vector<double> llama3 = RopeFrequencies(kTheta, llama31, 128);
  const std::vector<double> linear =
      RopeFrequencies(kTheta, {.type = RopeType::kLinear, .factor = 8}, 128);
  const std::vector<double> plain = RopeFrequencies(kTheta, {}, 128);
  ASSERT_EQ(plain.size(), 64u);
  EXPECT_EQ(plain[0], 1);
  // Powers and quotients of doubles: a few roundings each.
  const double eps = 16 * 0x1p-53;
  EXPECT_NEAR(plain[32] * std::sqrt(500000.0), 1, eps);
  int blended = 0;
  for (int i = 0; i < 64; ++i) {
    EXPECT_NEAR(linear[i] * 8 / plain[i], 1, eps);
    const double wavelength = 2 * std::numbers::pi / plain[i];
    if (wavelength < 2048) {
      EXPECT_EQ(llama3[i], plain[i]);
    } else if (wavelength > 8192) {
      EXPECT_EQ(llama3[i], plain[i] / 8);
    } else {
      ++blended;
      const double kept = (8192 / wavelength - 1) / 3;  // share of the unscaled frequency
      EXPECT_NEAR(llama3[i] / (plain[i] * (kept + (1 - kept) / 8)), 1, 4 * eps);
    }
  }
  EXPECT_EQ(blended, 6);  // pairs 29 .. 34
}

}  // namespace
}  // namespace bitbudget
