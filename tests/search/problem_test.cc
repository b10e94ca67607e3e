#include "search/problem.h"

#include <gtest/gtest.h>

#include <utility>

namespace bitbudget {
namespace {

constexpr Format kInt4{FormatKind::kInteger, 4, 128, false};
constexpr Format kInt8{FormatKind::kInteger, 8, 0, false};

SearchProblem ThreeComponents() {
  SearchProblem problem;
  problem.components = {{ComponentKind::kEmbedding, -1, 8, 128, "embed"},
                        {ComponentKind::kQ, 0, 8, 128, "q"},
                        {ComponentKind::kHead, -1, 8, 128, "head"}};
  problem.ladders = {{{kInt4, 40}, {kInt8, 80}},
                     {{kInt4, 30}, {kInt8, 60}, {kFormatBF16, 120}},
                     {{kFormatBF16, 500}}};
  problem.fixed_bytes = 7;
  problem.limit = ByteBudget{607};
  return problem;
}

TEST(SearchProblemTest, CountsFixedBytesAndTheLaddersSizes) {
  const SearchProblem problem = ThreeComponents();
  EXPECT_EQ(problem.SmallestBytes(), 7 + 40 + 30 + 500);
  EXPECT_EQ(problem.TotalBytes(Selection{1, 2, 0}), 7 + 80 + 120 + 500);
  EXPECT_EQ(problem.TotalBytes(problem.ToAssignment({1, 2, 0})), 7 + 80 + 120 + 500);
}

TEST(SearchProblemTest, CountsFormatsOutsideTheLadderWithTheirExactSize) {
  const SearchProblem problem = ThreeComponents();
  EXPECT_EQ(problem.TotalBytes(Assignment{kFormatF32, kInt4, kFormatBF16}),
            7 + SizeBytes(kFormatF32, 8, 128) + 30 + 500);
}

TEST(SearchProblemTest, TheBudgetIsTheLastByteThatFits) {
  SearchProblem problem = ThreeComponents();
  EXPECT_TRUE(problem.Fits(Selection{0, 1, 0}));  // 607
  problem.limit = ByteBudget{606};
  EXPECT_FALSE(problem.Fits(Selection{0, 1, 0}));
}

TEST(SearchProblemTest, ASparsityTargetIsMetByZerosWhateverTheSize) {
  Format sparse = kFormatBF16;
  sparse.sparsity = {SparsityKind::kShare, 600};
  SearchProblem problem = ThreeComponents();
  problem.ladders[0] = {{sparse, 90}, {kFormatBF16, 200}};
  problem.ladders[1] = {{kInt4, 30}, {kFormatBF16, 120}};
  problem.limit = SparsityTarget{300};
  // Half of the weights that are not pinned have 60 % zeros.
  for (const auto& [choice, fits] : {std::pair(0, true), {1, false}}) {
    const Selection selection = {choice, 1, 0};
    EXPECT_EQ(problem.SparsityPermilleOf(selection), fits ? 300 : 0);
    EXPECT_EQ(problem.Fits(selection), fits);
    EXPECT_EQ(problem.Fits(problem.ToAssignment(selection)), fits);
  }
  problem.limit = SparsityTarget{301};
  EXPECT_FALSE(problem.Fits(Selection{0, 1, 0}));
  EXPECT_FALSE(problem.Fits(problem.ToAssignment({0, 1, 0})));
  problem.limit = ByteBudget{1};
  EXPECT_FALSE(problem.Fits(problem.ToAssignment({0, 1, 0})));
}

TEST(SearchProblemTest, SharedFormatsAreThoseOfAllComponentsThatAreNotPinned) {
  const SearchProblem problem = ThreeComponents();
  EXPECT_EQ(problem.SharedFormats(), (std::vector<Format>{kInt4, kInt8}));
  EXPECT_EQ(problem.Uniform(kInt8), (Selection{1, 1, 0}));
}

}  // namespace
}  // namespace bitbudget
