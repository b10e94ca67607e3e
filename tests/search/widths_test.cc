#include "search/widths.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "tests/support/synthetic_evaluator.h"

namespace bitbudget {
namespace {

using testing::MakeToy;
using testing::Toy;

TEST(WidthsTest, TwoFormatsAreTheWidthsWhateverTheyAre) {
  Toy toy = MakeToy(1, 4, 2, 0, 0.5);
  Format pruned = kFormatBF16;
  pruned.sparsity = {SparsityKind::kShare, 700};
  for (auto& ladder : toy.problem.ladders) ladder[1].format = pruned;  // larger, and worse
  const std::vector<std::vector<Format>> expected = {{toy.problem.ladders[0][0].format, pruned}};
  EXPECT_EQ(WidthChains(toy.problem), expected);
}

TEST(WidthsTest, WhatIsLargerAndWorseIsNoWidth) {
  Toy toy = MakeToy(1, 4, 3, 0, 0.5);
  Format pruned = kFormatBF16;
  pruned.sparsity = {SparsityKind::kShare, 700};
  for (auto& ladder : toy.problem.ladders) {
    ladder.insert(ladder.begin() + 2, {pruned, ladder[1].bytes * 13 / 10});
  }
  toy.problem.limit = ByteBudget{toy.problem.TotalBytes(Selection(4, 2)) + 10};
  for (const std::vector<Format>& chain : WidthChains(toy.problem)) {
    EXPECT_EQ(std::count(chain.begin(), chain.end(), pruned), 0);
    EXPECT_EQ(chain.back(), (Format{FormatKind::kInteger, 8, 0, false}));
  }
}

}  // namespace
}  // namespace bitbudget
