#include "scoring/scores.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <vector>

#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

TEST(OrderByImportance, LowerIndicesWinTies) {
  const std::vector<double> scores = {0.5, 0.1, 0.5, 0.9, 0.1};
  EXPECT_EQ(OrderByImportance(scores, MostImportant::kLargest), (std::vector<int>{3, 0, 2, 1, 4}));
  EXPECT_EQ(OrderByImportance(scores, MostImportant::kSmallest), (std::vector<int>{1, 4, 0, 2, 3}));
}

TEST(MeansByKind, AreOverTheComponentsOfAKindThatHaveAValue) {
  TinyModelOptions options;
  options.layers = 3;
  const TinyModel tiny(options);
  const auto model = Model::Load(tiny.path(), 1);
  ASSERT_TRUE(model.ok()) << model.status();
  LayerScores scores;
  scores.measures = {{"sum", "sum", 2},
                     {"growth", "growth", 2, ComponentMeasure::Mean::kGeometric}};
  for (const Component& component : (*model)->components()) {
    const bool head = component.kind == ComponentKind::kHead;
    // Gate: 1, 2 and 4 by layer. The first q has no growth, the second one that has no logarithm.
    const double by_layer = std::exp2(component.layer);
    scores.measures[0].values.push_back(head ? std::nullopt : std::optional<double>(by_layer));
    const bool q = component.kind == ComponentKind::kQ;
    if (head || (q && component.layer == 0)) {
      scores.measures[1].values.push_back(std::nullopt);
    } else {
      scores.measures[1].values.push_back(q && component.layer == 1 ? 0 : by_layer);
    }
  }
  const std::vector<KindMeans> kinds = MeansByKind(scores, **model);
  ASSERT_EQ(kinds.size(), 9u);
  int64_t components = 0;
  for (const KindMeans& kind : kinds) {
    components += kind.components;
    ASSERT_EQ(kind.means.size(), 2u);
    if (kind.kind == ComponentKind::kHead) {
      EXPECT_EQ(kind.means, (std::vector<std::optional<double>>{std::nullopt, std::nullopt}));
    } else if (kind.kind == ComponentKind::kEmbedding) {
      EXPECT_EQ(kind.means[0], 0.5);
    } else {
      EXPECT_EQ(kind.components, 3);
      EXPECT_DOUBLE_EQ(*kind.means[0], 7.0 / 3);
      EXPECT_DOUBLE_EQ(*kind.means[1], kind.kind == ComponentKind::kQ ? 4 : 2);
    }
  }
  EXPECT_EQ(components, static_cast<int64_t>((*model)->components().size()));
  scores.measures.clear();
  EXPECT_EQ(MeansByKind(scores, **model).size(), 9u);
}

TEST(MeansByKind, LeaveOutKindsThatTheModelDoesNotHave) {
  TinyModelOptions options;
  options.tied = true;
  const TinyModel tiny(options);
  const auto model = Model::Load(tiny.path(), 1);
  ASSERT_TRUE(model.ok()) << model.status();
  const std::vector<KindMeans> kinds = MeansByKind(LayerScores(), **model);
  EXPECT_EQ(kinds.size(), 8u);
  EXPECT_NE(kinds.back().kind, ComponentKind::kHead);
}

}  // namespace
}  // namespace bitbudget
