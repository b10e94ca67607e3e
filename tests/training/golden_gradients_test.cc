// The bundled models' gradients against those that another implementation computed in float64
// (golden_gradients.json).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "runtime/training/losses.h"
#include "tests/support/temp_dir.h"
#include "tests/training/all_parameters.h"

namespace bitbudget {
namespace {

constexpr double kTolerance = 1e-4;  // relative

class GoldenGradientsTest : public testing::TestWithParam<const char*> {};

// Compares a gradient with its golden norm, sum and values. Single values and the sum cancel: their
// errors are compared with what a value of that norm has at most and on average.
template <typename Values>
void ExpectGolden(const std::string& name, const Values& values, const nlohmann::json& golden) {
  SCOPED_TRACE(name);
  const double norm = golden["norm"].get<double>();
  const double count = static_cast<double>(values.size());
  EXPECT_NEAR(values.template cast<double>().norm(), norm, kTolerance * norm);
  EXPECT_NEAR(values.template cast<double>().sum(),
              golden["sum"].get<double>(),
              kTolerance * norm * std::sqrt(count));
  ASSERT_FALSE(golden["at"].empty());
  for (const auto& at : golden["at"]) {
    const double expected = at[1].template get<double>();
    EXPECT_NEAR(values.data()[at[0].template get<int64_t>()],
                expected,
                kTolerance * std::max(std::abs(expected), norm / std::sqrt(count)))
        << at[0];
  }
}

TEST_P(GoldenGradientsTest, GradientsOfEveryTensorAreThoseOfPyTorch) {
  const std::string folder = absl::StrCat(BITBUDGET_SOURCE_DIR, "/tools/demo/models/", GetParam());
  const auto golden = nlohmann::json::parse(ReadTestFile(folder + "/golden_gradients.json"));
  const auto model = Model::Load(folder, 2);
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<std::vector<int32_t>> sequences = {
      golden["tokens"].get<std::vector<int32_t>>()};
  const AllParameters<float> all = ReadAll<float>(**model);
  const auto ends = all.Ends();
  GivenLayers<float> layers(all.layers);
  ModelGradient<float> pass(
      **model, {.max_positions = static_cast<int64_t>(sequences[0].size()), .threads = 2});
  pass.Forward(*ends, &layers, sequences);
  CrossEntropy<float> loss(NextTokens(sequences));
  KeepAll<float> keep(all, 2);
  const double value = pass.Backward(*ends, &layers, &loss, &keep);
  EXPECT_NEAR(value, golden["loss"].get<double>(), 1e-5);

  const auto& tensors = golden["tensors"];
  size_t compared = 0;
  const auto compare = [&](const std::string& name, const auto& values) {
    if (values.size() == 0) return;
    ASSERT_TRUE(tensors.contains(name)) << name;
    ExpectGolden(name, values, tensors[name]);
    ++compared;
  };
  const AllParameters<float>& gradient = keep.gradient();
  compare("model.embed_tokens.weight", gradient.embedding);
  compare("model.norm.weight", gradient.final_norm);
  if (gradient.head.has_value()) compare("lm_head.weight", *gradient.head);
  for (size_t layer = 0; layer < gradient.layers.size(); ++layer) {
    const LayerParameters<float>& p = gradient.layers[layer];
    const std::string prefix = absl::StrCat("model.layers.", layer, ".");
    for (int i = 0; i < kLayerMatrices; ++i) {
      const Component& component =
          (*model)->component(LayerComponentId(static_cast<int>(layer), i));
      compare(component.name + ".weight", p.matrices[i]);
    }
    compare(prefix + "input_layernorm.weight", p.attention_norm);
    compare(prefix + "post_attention_layernorm.weight", p.mlp_norm);
  }
  EXPECT_EQ(compared, tensors.size());
}

INSTANTIATE_TEST_SUITE_P(BundledModels,
                         GoldenGradientsTest,
                         testing::Values("novel-1m", "novel-8m"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace bitbudget
