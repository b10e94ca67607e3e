#include "scoring/registry.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "runtime/quantize/rtn_encoder.h"
#include "tests/support/expect_error.h"
#include "tests/support/random_tokens.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

TEST(ScorerRegistry, FindsEveryScorerByItsName) {
  std::set<std::string> names;
  for (const Scorer& scorer : Scorers()) {
    const auto found = FindScorer(scorer.name);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(*found, &scorer);
    EXPECT_TRUE(names.insert(scorer.name).second) << "two scorers are called " << scorer.name;
    EXPECT_NE(std::string(scorer.description), "") << scorer.name;
    EXPECT_NE(DescribeScorers().find(scorer.name), std::string::npos) << scorer.name;
    EXPECT_NE(DescribeScorers().find(scorer.description), std::string::npos) << scorer.name;
  }
  for (const char* name : {"lim", "zd", "signal"}) EXPECT_TRUE(names.contains(name)) << name;
}

TEST(ScorerRegistry, RefusesAnUnknownNameAndSuggestsTheNearest) {
  ExpectError(FindScorer("signl").status(),
              absl::StatusCode::kInvalidArgument,
              {"unknown scorer 'signl'", "did you mean 'signal'?", "lim, zd, signal"});
  ExpectError(FindScorer("").status(), absl::StatusCode::kInvalidArgument, {"unknown scorer ''"});
}

// Every scorer gets by with what it says that it needs, and ranks every layer once.
TEST(ScorerRegistry, EveryScorerRanksAllLayersFromWhatItNeeds) {
  TinyModelOptions options;
  options.layers = 3;
  options.vocab = 64;
  options.dtype = kFormatBF16;
  const TinyModel tiny(options);
  const auto model = Model::Load(tiny.path(), 1);
  ASSERT_TRUE(model.ok()) << model.status();
  const Transformer transformer(**model, 64);
  const std::unique_ptr<Encoder> encoder = MakeRtnEncoder();
  const StatsWeightEncoder weight_encoder(**model, *encoder);
  EncodingBank bank(**model, weight_encoder, BankOptions());
  const std::vector<std::vector<int32_t>> sequences = {RandomTokens(20, 64, 1),
                                                       RandomTokens(5, 64, 2)};
  const Assignment assignment((*model)->components().size(), *ParseFormat("int4-g32"));
  const std::vector<std::vector<Format>> ladders(assignment.size(), {assignment[0], kFormatBF16});
  Progress progress;
  for (const Scorer& scorer : Scorers()) {
    for (const ScoreDetail detail : {ScoreDetail::kLayers, ScoreDetail::kComponents}) {
      ScoreContext context;
      context.model = model->get();
      context.detail = detail;
      context.progress = &progress;
      if (scorer.needs != ScorerNeeds::kWeights) {
        context.transformer = &transformer;
        context.bank = &bank;
        context.sequences = sequences;
      }
      if (scorer.needs == ScorerNeeds::kFormats) context.assignment = &assignment;
      if (scorer.needs == ScorerNeeds::kLadders) context.ladders = &ladders;
      const auto scores = scorer.score(context);
      ASSERT_TRUE(scores.ok()) << scorer.name << ": " << scores.status();
      EXPECT_EQ(scores->scorer, scorer.name);
      EXPECT_EQ(scores->layers.size(), 3u);
      std::vector<int> order = scores->order;
      std::sort(order.begin(), order.end());
      EXPECT_EQ(order, (std::vector<int>{0, 1, 2})) << scorer.name;
      const size_t components = (*model)->components().size();
      EXPECT_TRUE(scores->components.empty() || scores->components.size() == components);
      EXPECT_EQ(scores->costs.size(), scorer.needs == ScorerNeeds::kLadders ? components : 0);
      for (const LayerScores::Part& part : scores->parts) EXPECT_EQ(part.scores.size(), 3u);
      for (const ComponentMeasure& measure : scores->measures) {
        EXPECT_EQ(measure.values.size(), components) << measure.name;
      }
    }
  }
}

}  // namespace
}  // namespace bitbudget
