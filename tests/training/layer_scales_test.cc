#include "runtime/training/layer_scales.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "planner/jobs/equalize_job.h"
#include "runtime/model/decoder/transformer.h"
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
        scales.value_shift.push_back(static_cast<float>(random.Normal()));
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
      value = static_cast<float>(random.Normal());
    }
    for (float& value : slopes.biases[i]) value = static_cast<float>(random.Normal());
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

}  // namespace
}  // namespace bitbudget
