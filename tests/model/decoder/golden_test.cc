// The bundled models against logits that another implementation computed (golden.json).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "runtime/model/decoder/transformer.h"
#include "tests/support/reference_weights.h"
#include "tests/support/temp_dir.h"

namespace bitbudget {
namespace {

// Both sides round to float, in different orders, and the file has six digits of a logit: they
// differ by up to 1.2e-5 in a logit and 8e-7 in a mean. A wrong norm epsilon, angle or head order
// shows from 1e-3 on.
constexpr double kLogitTolerance = 1e-4;
constexpr double kNllTolerance = 1e-5;
constexpr double kMargin = 1e-3;  // logits closer than this may change places

class GoldenTest : public testing::TestWithParam<const char*> {};

TEST_P(GoldenTest, LogitsAreThoseOfPyTorch) {
  const std::string folder = absl::StrCat(BITBUDGET_SOURCE_DIR, "/tools/demo/models/", GetParam());
  const auto golden = nlohmann::json::parse(ReadTestFile(folder + "/golden.json"));
  const auto model = Model::Load(folder, 2);
  ASSERT_TRUE(model.ok()) << model.status();
  const ModelConfig& config = (*model)->config();
  const Transformer transformer(**model, config.max_position_embeddings);
  const ReferenceWeights weights(**model, 2);
  TransformerWorkspace workspace;

  ASSERT_FALSE(golden["sequences"].empty());
  for (const auto& sequence : golden["sequences"]) {
    const auto tokens = sequence["tokens"].get<std::vector<int32_t>>();
    const int64_t rows = static_cast<int64_t>(tokens.size());
    SCOPED_TRACE(absl::StrCat(rows, " tokens"));
    std::vector<float> x(rows * config.hidden_size);
    transformer.Embed(weights.set(), tokens, x.data());
    const SequenceRows whole{rows, nullptr};
    for (int stage = 1; stage + 1 < NumStages(config); ++stage) {
      transformer.RunStage(stage, weights.set(), {&whole, 1}, x.data(), &workspace);
    }
    std::vector<float> logits(rows * config.vocab_size);
    transformer.Logits(
        weights.set(), x.data(), config.hidden_size, rows, logits.data(), &workspace);

    ASSERT_EQ(sequence["top5_ids"].size(), tokens.size());
    int clear = 0;
    double nll = 0;
    double worst = 0;
    for (int64_t t = 0; t < rows; ++t) {
      const float* row = logits.data() + t * config.vocab_size;
      const auto ids = sequence["top5_ids"][t].get<std::vector<int32_t>>();
      const auto values = sequence["top5_logits"][t].get<std::vector<double>>();
      ASSERT_EQ(ids.size(), 5u);
      for (int i = 0; i < 5; ++i) worst = std::max(worst, std::abs(row[ids[i]] - values[i]));
      if (values[0] - values[1] > kMargin) {
        ++clear;
        EXPECT_EQ(std::max_element(row, row + config.vocab_size) - row, ids[0]) << t;
      }
      if (t + 1 == rows) break;
      double sum = 0;
      for (int64_t v = 0; v < config.vocab_size; ++v) sum += std::exp(static_cast<double>(row[v]));
      nll += std::log(sum) - row[tokens[t + 1]];
    }
    EXPECT_LT(worst, kLogitTolerance);
    EXPECT_NEAR(
        nll / static_cast<double>(rows - 1), sequence["mean_nll"].get<double>(), kNllTolerance);
    EXPECT_GT(clear, 0.95 * static_cast<double>(rows));
  }
}

INSTANTIATE_TEST_SUITE_P(Bundled, GoldenTest, testing::Values("novel-1m", "novel-8m"), [](auto& i) {
  return std::string(i.param).substr(6);
});

}  // namespace
}  // namespace bitbudget
