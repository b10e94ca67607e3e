#include "runtime/quantize/equalize.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "planner/jobs/equalize_job.h"
#include "runtime/model/decoder/transformer.h"
#include "runtime/quantize/layer_scales.h"
#include "runtime/quantize/layer_tuning.h"
#include "tests/planner/planner_test_util.h"
#include "tests/support/expect_error.h"
#include "tests/support/matrices.h"
#include "tests/support/naive_transformer.h"
#include "tests/support/random_tokens.h"
#include "tests/support/reference_weights.h"
#include "tests/support/tiny_model.h"
#include "tests/support/variants.h"

namespace bitbudget {
namespace {

std::unique_ptr<Model> LoadOrDie(const std::string& path) {
  absl::StatusOr<std::unique_ptr<Model>> model = Model::Load(path, 1);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

// A factor between 1/4 and 4.
std::vector<float> RandomScales(int64_t size, Random* random) {
  std::vector<float> scales;
  for (int64_t i = 0; i < size; ++i) {
    scales.push_back(static_cast<float>(std::exp2(4 * random->Uniform() - 2)));
  }
  return scales;
}

// Every scale that the model has, at random. `tied`: as the rotary embedding needs it.
std::vector<LayerScales> RandomLayerScales(const ModelConfig& config, bool tied) {
  std::vector<LayerScales> all;
  Random random(4);
  for (int64_t b = 0; b < config.num_hidden_layers; ++b) {
    LayerScales& scales = all.emplace_back();
    scales.attention_input = RandomScales(config.hidden_size, &random);
    scales.mlp_input = RandomScales(config.hidden_size, &random);
    scales.value = RandomScales(config.kv_size(), &random);
    if (HasValueShift(config)) {
      for (int64_t c = 0; c < config.kv_size(); ++c) {
        scales.value_shift.push_back(static_cast<float>(Gaussian(random)));
      }
    }
    if (!HasQueryKeyScales(config)) continue;
    scales.query_key = RandomScales(config.kv_size(), &random);
    const int64_t half = config.rotary_dim / 2;
    for (int64_t c = 0; tied && c < config.kv_size(); ++c) {
      const int64_t dim = c % config.head_dim;
      if (dim >= half && dim < config.rotary_dim) {
        scales.query_key[c] = scales.query_key[c - half];
      }
    }
  }
  return all;
}

std::vector<double> LogitsOf(const Model& model, const std::vector<int32_t>& tokens) {
  const Transformer transformer(model, 64);
  const ReferenceWeights weights(model, 1);
  const ModelConfig& config = model.config();
  const int64_t rows = static_cast<int64_t>(tokens.size());
  std::vector<float> x(rows * config.hidden_size);
  std::vector<float> logits(rows * config.vocab_size);
  TransformerWorkspace workspace;
  const SequenceRows whole{rows, nullptr};
  transformer.Embed(weights.set(), tokens, x.data());
  for (int stage = 1; stage + 1 < NumStages(config); ++stage) {
    transformer.RunStage(stage, weights.set(), {&whole, 1}, x.data(), &workspace);
  }
  transformer.Logits(weights.set(), x.data(), config.hidden_size, rows, logits.data(), &workspace);
  return {logits.begin(), logits.end()};
}

std::vector<Variant> Variants() {
  std::vector<Variant> variants;
  const auto add = [&](const char* name, const auto& change) {
    AddVariant(name, 40, change, &variants);
  };
  add("llama", [](auto& o) { o.kv_heads = 4; });
  add("grouped_queries", [](auto& o) { o.kv_heads = 1; });
  add("shifts", [](auto& o) { o.attention_bias = true; });
  add("tied_embedding", [](auto& o) { o.tied = true; });
  add("qwen2", [](auto& o) { o.architecture = Architecture::kQwen2; });
  add("qwen3", [](auto& o) { o.architecture = Architecture::kQwen3; });
  add("gemma2", [](auto& o) { o.architecture = Architecture::kGemma2; });
  add("gemma3", [](auto& o) { o.architecture = Architecture::kGemma3; });
  add("fused_and_partly_rotated", [](auto& o) {
    o.architecture = Architecture::kPhi3;
    o.fields = R"({"partial_rotary_factor": 0.5})";
  });
  return variants;
}

class FoldTest : public testing::TestWithParam<Variant> {
 protected:
  // The largest change of a logit when scales are folded in, in units of how far rounding every
  // value to float takes the logits of the original from exact ones.
  double ChangeInRoundings(bool tied) {
    const TinyModel tiny(GetParam().options);
    const std::unique_ptr<Model> model = LoadOrDie(tiny.path());
    const TempDir dir;
    const std::string folder = dir.path() + "/folded";
    Progress silent;
    const absl::Status written = WriteEqualizedFolder(
        *model, RandomLayerScales(model->config(), tied), kFormatF32, folder, 2, &silent);
    EXPECT_TRUE(written.ok()) << written;
    const std::vector<int32_t> tokens = RandomTokens(20, model->config().vocab_size, 7);
    const NaiveTransformer naive(*model);
    const std::vector<double> exact = naive.Run(tokens).logits;
    const std::vector<double> rounded = naive.Run(tokens, NaiveArithmetic::kFloat).logits;
    return MaxDifference(LogitsOf(*LoadOrDie(folder), tokens), exact) /
           MaxDifference(rounded, exact);
  }
};

// The folded model does as many roundings as the original and one more per weight, which weighs no
// more than that of a product; their distribution is the same but for a factor of about the root of
// two, and the largest of many errors differs little between draws (transformer_test.cc).
TEST_P(FoldTest, LeavesLogitsAsTheyAreUpToRounding) { EXPECT_LT(ChangeInRoundings(true), 8); }

TEST_P(FoldTest, NeedsOneScaleForBothChannelsOfARotation) {
  if (GetParam().options.architecture == Architecture::kQwen3 ||
      GetParam().options.architecture == Architecture::kGemma3) {
    GTEST_SKIP() << "norms stand between q and k";
  }
  EXPECT_GT(ChangeInRoundings(false), 1000);
}

INSTANTIATE_TEST_SUITE_P(Architectures,
                         FoldTest,
                         testing::ValuesIn(Variants()),
                         [](const auto& info) { return info.param.name; });

// A loss that is linear in the folded parameters, by the logarithm of one scale.
TEST_P(FoldTest, GradientAgreesWithDifferences) {
  const TinyModel tiny(GetParam().options);
  const std::unique_ptr<Model> model = LoadOrDie(tiny.path());
  const ModelConfig& config = model->config();
  const LayerParameters<float> layer = ReadLayer<float>(*model, 0);
  LayerParameters<float> slopes = layer;
  Random random(8);
  for (int i = 0; i < kLayerMatrices; ++i) {
    for (float& value : slopes.matrices[i].reshaped()) {
      value = static_cast<float>(Gaussian(random));
    }
    for (float& value : slopes.biases[i]) value = static_cast<float>(Gaussian(random));
  }
  LayerScales scales = RandomLayerScales(config, true)[0];
  scales.value_shift.clear();
  const auto folded = [&] {
    LayerParameters<float> out = layer;
    FoldScales(config, scales, &out);
    return out;
  };
  double size = 0;
  const auto loss = [&] {
    const LayerParameters<float> own = folded();
    double sum = 0;
    size = 0;
    const auto add = [&](const auto& a, const auto& b) {
      for (int64_t i = 0; i < a.size(); ++i) {
        const double product = static_cast<double>(a.data()[i]) * b.data()[i];
        sum += product;
        size += std::abs(product);
      }
    };
    for (int i = 0; i < kLayerMatrices; ++i) {
      add(own.matrices[i], slopes.matrices[i]);
      add(own.biases[i], slopes.biases[i]);
    }
    add(own.attention_norm, slopes.attention_norm);
    add(own.mlp_norm, slopes.mlp_norm);
    return sum;
  };
  const ScaleGradient gradient = LogScaleGradient(config, folded(), slopes);
  const auto check =
      [&](const char* name, std::vector<float>& own, const std::vector<double>& got) {
        ASSERT_EQ(own.size(), got.size()) << name;
        for (size_t i = 0; i < own.size(); i += 5) {
          const float kept = own[i];
          const auto difference = [&](double step) {
            own[i] = static_cast<float>(kept * std::exp(step));
            const double above_log = std::log(static_cast<double>(own[i]));
            const double above = loss();
            own[i] = static_cast<float>(kept * std::exp(-step));
            const double below_log = std::log(static_cast<double>(own[i]));
            const double below = loss();
            own[i] = kept;
            return (above - below) / (above_log - below_log);
          };
          constexpr double kStep = 0x1p-6;
          const double fine = difference(kStep);
          const double rounding = size * std::numeric_limits<float>::epsilon() / kStep;
          EXPECT_NEAR(got[i], fine, std::abs(difference(2 * kStep) - fine) + rounding) << name << i;
        }
      };
  check("attention input", scales.attention_input, gradient.attention_input);
  check("mlp input", scales.mlp_input, gradient.mlp_input);
  check("value", scales.value, gradient.value);
  check("query key", scales.query_key, gradient.query_key);
}

// A layer of 64 channels, a few of which have inputs that are 30 times as large as the others'.
struct UnevenBlock {
  UnevenBlock() : model(Options()), config((*model).config()) {
    parameters = ReadLayer<float>(*model, 0);
    for (const int64_t channel : {3, 17, 40}) {
      parameters.attention_norm[channel] *= 30;
      parameters.mlp_norm[channel] *= 30;
      for (const int which : {kQMatrix, kKMatrix, kVMatrix, kGateMatrix, kUpMatrix}) {
        parameters.matrices[which].col(channel) /= 30;
      }
    }
    inputs = Inputs({40, 25, 50}, 1);
    held = Inputs({30, 30}, 2);
  }

  static TinyModelOptions Options() {
    TinyModelOptions options = SmallModelOptions();
    options.dtype = kFormatF32;
    return options;
  }

  LayerInputs Inputs(std::vector<int64_t> lengths, uint64_t seed) const {
    int64_t rows = 0;
    for (const int64_t length : lengths) rows += length;
    const std::vector<float> values = GaussianValues(rows * config.hidden_size, 1, seed);
    return {std::move(lengths),
            Eigen::Map<const Matrix<float>>(values.data(), rows, config.hidden_size)};
  }

  absl::StatusOr<LayerEqualization> Equalize(EqualizeOptions options, int threads = 1) const {
    options.threads = threads;
    return EqualizeLayer(config, 0, parameters, inputs, held, *MakeClipEncoder(), options);
  }

  LoadedModel model;
  const ModelConfig& config;
  LayerParameters<float> parameters;
  LayerInputs inputs;
  LayerInputs held;
};

EqualizeOptions OptionsFor(const char* format, int token_bits = 0) {
  EqualizeOptions options;
  options.format = *ParseFormat(format);
  options.token_bits = token_bits;
  return options;
}

TEST(EqualizeLayer, EvensOutChannelsOfLargeInputs) {
  const UnevenBlock layer;
  for (const auto& options :
       {OptionsFor("int4-g64"), OptionsFor("int3z-g32"), OptionsFor("q4_0")}) {
    const auto result = layer.Equalize(options);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_LT(result->error_after, 0.5 * result->error_before) << options.format.Name();
    EXPECT_LT(result->held_error_after, 0.5 * result->held_error_before);
    ASSERT_FALSE(result->scales.attention_input.empty());
    // What was found is what folding it gives.
    LayerParameters<float> folded = layer.parameters;
    FoldScales(layer.config, result->scales, &folded);
    const DecoderLayer<float> decoder(layer.config, 0, 64);
    LayerTrace<float> exact;
    LayerTrace<float> encoded;
    decoder.Forward(layer.parameters, layer.held.lengths, layer.held.x, 1, &exact);
    decoder.Forward(*EncodedLayer(folded, *MakeClipEncoder(), options.format, 1),
                    layer.held.lengths,
                    layer.held.x,
                    1,
                    &encoded);
    EXPECT_EQ(RelativeDistance(encoded.outputs, exact.outputs), result->held_error_after);
  }
}

TEST(EqualizeLayer, LearnsByGradientWhatRatiosDoNotFind) {
  const UnevenBlock layer;
  EqualizeOptions options = OptionsFor("int2z-g64");
  options.iterations = 0;
  const auto ratios = layer.Equalize(options);
  options.iterations = 20;
  const auto learned = layer.Equalize(options);
  ASSERT_TRUE(ratios.ok() && learned.ok());
  EXPECT_LT(learned->error_after, ratios->error_after);
}

TEST(EqualizeLayer, CountsRoundedActivations) {
  const UnevenBlock layer;
  const auto result = layer.Equalize(OptionsFor("int8", 4));
  ASSERT_TRUE(result.ok()) << result.status();
  const auto exact = layer.Equalize(OptionsFor("int8"));
  ASSERT_TRUE(exact.ok()) << exact.status();
  EXPECT_GT(result->held_error_before, 10 * exact->held_error_before);
  EXPECT_LT(result->held_error_after, 0.8 * result->held_error_before);
}

TEST(EqualizeLayer, DoesNotDependOnThreads) {
  const UnevenBlock layer;
  for (const auto& options : {OptionsFor("int3-g32"), OptionsFor("int4z-g64", 8)}) {
    const auto alone = layer.Equalize(options, 1);
    const auto shared = layer.Equalize(options, 3);
    ASSERT_TRUE(alone.ok() && shared.ok());
    EXPECT_EQ(alone->scales.attention_input, shared->scales.attention_input);
    EXPECT_EQ(alone->scales.value, shared->scales.value);
    EXPECT_EQ(alone->scales.mlp_input, shared->scales.mlp_input);
    EXPECT_EQ(alone->scales.query_key, shared->scales.query_key);
    EXPECT_EQ(alone->held_error_after, shared->held_error_after);
  }
}

LayerEncodings EncodingsOf(const UnevenBlock& layer, const Format& format) {
  LayerEncodings encodings;
  for (int i = 0; i < kLayerMatrices; ++i) {
    const Matrix<float>& m = layer.parameters.matrices[i];
    encodings[i] = *MakeClipEncoder()->Encode(
        ViewOf({m.data(), static_cast<size_t>(m.size())}, m.rows(), m.cols()), format);
  }
  return encodings;
}

TEST(TuneLayer, LowersTheErrorOfOutputsAndChangesScalesOnly) {
  const UnevenBlock layer;
  for (const char* name : {"int4-g32", "int3z-g64", "int2z-g32", "int2-g64"}) {
    const Format format = *ParseFormat(name);
    const LayerEncodings start = EncodingsOf(layer, format);
    LayerEncodings tuned = start;
    const auto [before, after] =
        TuneLayer(layer.config, 0, layer.parameters, layer.inputs, 20, 1, &tuned);
    EXPECT_LT(after, 0.9 * before) << name;
    for (int i = 0; i < kLayerMatrices; ++i) {
      const EncodingLayout layout(format, start[i].rows, start[i].cols);
      const auto same = [&](int64_t begin, int64_t end) {
        return std::equal(start[i].bytes.begin() + begin,
                          start[i].bytes.begin() + end,
                          tuned[i].bytes.begin() + begin);
      };
      EXPECT_TRUE(same(0, layout.scales_offset)) << name << i;
      EXPECT_TRUE(same(layout.zeros_offset, layout.total_bytes)) << name << i;
    }
    LayerEncodings shared = start;
    TuneLayer(layer.config, 0, layer.parameters, layer.inputs, 20, 3, &shared);
    for (int i = 0; i < kLayerMatrices; ++i) EXPECT_EQ(shared[i].bytes, tuned[i].bytes);
  }
}

TEST(TuneLayer, LeavesALayerWithoutErrorAlone) {
  UnevenBlock layer;
  const Format format = *ParseFormat("int8-g32");
  LayerEncodings encodings = EncodingsOf(layer, format);
  for (int i = 0; i < kLayerMatrices; ++i) {
    Matrix<float>& m = layer.parameters.matrices[i];
    DecodeReference(encodings[i], {m.data(), static_cast<size_t>(m.size())});
  }
  const LayerEncodings start = encodings;
  const auto [before, after] =
      TuneLayer(layer.config, 0, layer.parameters, layer.inputs, 20, 1, &encodings);
  EXPECT_EQ(before, 0);
  EXPECT_EQ(after, 0);
  for (int i = 0; i < kLayerMatrices; ++i) EXPECT_EQ(encodings[i].bytes, start[i].bytes);
}

TEST(LayerTuningEncoder, GivesTheSameInAnyOrderAndPassesOnWhatItDoesNotTune) {
  const LoadedModel loaded;
  const Model& model = *loaded;
  const Transformer transformer(model, 64);
  ReferenceWeights weights(model, 1);
  const std::unique_ptr<Encoder> clip = MakeClipEncoder();
  const StatsWeightEncoder rows(model, *clip);
  const std::vector<std::vector<int32_t>> sequences = {
      RandomTokens(30, model.config().vocab_size, 1),
      RandomTokens(20, model.config().vocab_size, 2)};
  Progress silent;
  std::vector<std::vector<uint8_t>> first;
  int changed = 0;
  for (const bool backwards : {false, true}) {
    LayerTuningEncoder tuning(model, rows);
    ASSERT_TRUE(tuning.Calibrate(transformer, &weights, sequences, 2, &silent).ok());
    std::vector<std::vector<uint8_t>> all(model.components().size());
    for (size_t i = 0; i < all.size(); ++i) {
      const auto id = static_cast<ComponentId>(backwards ? all.size() - 1 - i : i);
      const auto encoding = tuning.Encode(id, *ParseFormat("int3z-g64"), 1);
      ASSERT_TRUE(encoding.ok()) << encoding.status();
      all[id] = encoding->bytes;
      changed += encoding->bytes != rows.Encode(id, encoding->format, 1)->bytes;
      EXPECT_EQ(tuning.Encode(id, kFormatF32, 1)->bytes, rows.Encode(id, kFormatF32, 1)->bytes);
    }
    if (!backwards) first = all;
    EXPECT_EQ(all, first);
  }
  EXPECT_EQ(changed, 2 * 7 * model.config().num_hidden_layers);
}

class EqualizeJobTest : public testing::Test {
 protected:
  EqualizeJobOptions Options() const {
    EqualizeJobOptions options;
    options.format = *ParseFormat("int3z-g64");
    options.out = dir_.path() + "/out";
    options.probes.source = ProbeSource::kText;
    options.probes.path = model_.text;
    options.probes.prefix_tokens = 20;
    options.probes.completion_tokens = 10;
    options.probe_count = 8;
    options.iterations = 3;
    return options;
  }

  ModelWithText model_;
  TempDir dir_;
};

TEST_F(EqualizeJobTest, WritesAModelThatIsTheSame) {
  Progress silent;
  const auto report = RunEqualizeJob(*model_, Options(), &silent);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->layers.size(), 2u);
  for (const LayerEqualization& layer : report->layers) {
    EXPECT_LE(layer.held_error_after, layer.held_error_before);
  }
  // Differences of logits of a few hundred float roundings, squared.
  EXPECT_LT(report->divergence, 1e-9);
  EXPECT_GE(report->largest_divergence, report->divergence);
  EXPECT_TRUE(std::filesystem::exists(Options().out + "/tokenizer.model"));
}

TEST_F(EqualizeJobTest, RefusesWhatItCannotDo) {
  Progress silent;
  EqualizeJobOptions options = Options();
  options.format = kFormatBF16;
  ExpectError(RunEqualizeJob(*model_, options, &silent).status(),
              absl::StatusCode::kInvalidArgument,
              {"--format", "bf16"});
  options = Options();
  options.format = *ParseFormat("q4_k");  // 256 inputs per layer
  ExpectError(RunEqualizeJob(*model_, options, &silent).status(),
              absl::StatusCode::kInvalidArgument,
              {"q4_k", "256"});
  options = Options();
  options.out = model_.files.path();
  ExpectError(RunEqualizeJob(*model_, options, &silent).status(),
              absl::StatusCode::kInvalidArgument,
              {model_.files.path(), "not an empty folder"});
}

TEST_F(EqualizeJobTest, LeavesNothingWhenInterrupted) {
  class Stop : public Progress {
   public:
    bool Interrupted() const override { return --calls_left < 0; }
    mutable std::atomic<int> calls_left = 0;
  };
  for (const int calls : {0, 1, 2, 5}) {
    Stop stop;
    stop.calls_left = calls;
    EXPECT_EQ(RunEqualizeJob(*model_, Options(), &stop).status().code(),
              absl::StatusCode::kCancelled);
    EXPECT_TRUE(std::filesystem::is_empty(dir_.path()));
  }
}

}  // namespace
}  // namespace bitbudget
