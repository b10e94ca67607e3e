#include "search/merit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace bitbudget {
namespace {

TEST(MeritTest, FdtGoesByItsPercentileAndThenByItsTieBreakers) {
  // fdt, sdt, nll, kl of four probes.
  const auto evaluation = [](std::vector<int> fdt, int sdt, double nll, double kl) {
    Evaluation probes;
    for (const int f : fdt) probes.push_back({100, f, sdt, nll, kl});
    return probes;
  };
  const std::vector<Evaluation> better_and_better = {
      evaluation({50, 50, 50, 50}, 1, 1, 1),
      evaluation({0, 0, 60, 60}, 9, 9, 9),    // the 75th percentile
      evaluation({0, 10, 60, 60}, 10, 9, 9),  // the mean
      evaluation({0, 10, 60, 60}, 9, 9, 9),   // SDT
      evaluation({0, 10, 60, 60}, 9, 9, 8),   // KL
  };
  for (size_t i = 1; i < better_and_better.size(); ++i) {
    EXPECT_GT(MeritOf(MeritKind::kFdt, better_and_better[i]),
              MeritOf(MeritKind::kFdt, better_and_better[i - 1]))
        << i;
  }
  for (const MeritKind kind : {MeritKind::kDppl, MeritKind::kPpl}) {
    EXPECT_EQ(MeritOf(kind, better_and_better[1]), MeritOf(kind, better_and_better[4]));
    EXPECT_EQ(MeritOf(kind, better_and_better[1])[0], -0.09);
    EXPECT_GT(MeritOf(kind, better_and_better[0]), MeritOf(kind, better_and_better[1]));
  }
  const Merit broken = MeritOf(MeritKind::kDppl, evaluation({0}, 1, std::nan(""), 1));
  EXPECT_LT(broken, MeritOf(MeritKind::kDppl, better_and_better[1]));
}

TEST(MeritTest, NamesAreReadAndUnknownOnesRefused) {
  for (const MeritKind kind : {MeritKind::kFdt, MeritKind::kDppl, MeritKind::kPpl}) {
    EXPECT_EQ(*ParseMeritKind(MeritKindName(kind)), kind);
  }
  EXPECT_EQ(ParseMeritKind("sdt").status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace bitbudget
