#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "runtime/quantize/block_rtn.h"
#include "runtime/quantize/grid_fit.h"
#include "runtime/quantize/group_affine_search.h"
#include "runtime/quantize/group_fit-inl.h"
#include "runtime/quantize/group_scale_search.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

// The other sets are compared with it below.
using Fits = internal::BaselineFits;

// A block of some type with a grid for every group; some groups have scale 0.
struct GroupCase {
  GroupCase(FormatKind kind, bool weighted, uint64_t seed)
      : traits(BlockTraitsOf(kind)), weights(HeavyTailedValues(traits.block, 0.02, seed)) {
    if (weighted) importance = GaussianValues(traits.block, 1.0, seed + 1);
    for (float& value : importance) value = std::exp(value);
    const std::vector<float> some = GaussianValues(2 * traits.groups(), 0.01, seed + 2);
    for (int g = 0; g < traits.groups(); ++g) {
      scales[g] = g == 3 ? 0.0f : some[2 * g];
      minimums[g] = std::abs(some[2 * g + 1]);
    }
  }

  WeightedBlock block() const { return {weights, importance, traits}; }
  std::span<const float> Group(int g) const {
    return std::span(weights).subspan(g * traits.group, traits.group);
  }
  std::span<const float> Importance(int g) const {
    return importance.empty() ? std::span<const float>()
                              : std::span(importance).subspan(g * traits.group, traits.group);
  }

  const BlockTraits& traits;
  std::vector<float> weights;
  std::vector<float> importance;
  PerGroup scales{};
  PerGroup minimums{};
};

std::vector<GroupCase> Cases() {
  std::vector<GroupCase> cases;
  for (const FormatKind kind : {FormatKind::kQ6_K, FormatKind::kQ4_K}) {  // 16 x 16 and 8 x 32
    for (const bool weighted : {false, true}) {
      for (uint64_t seed = 1; seed < 10; ++seed) cases.emplace_back(kind, weighted, 10 * seed);
    }
  }
  return cases;
}

// Sums of a group of at most 32 terms in two orders.
void ExpectNear(float got, float expected, float size) {
  EXPECT_NEAR(got, expected, 64 * 0x1p-24f * (std::abs(expected) + size));
}

TEST(GroupSearch, EveryInstructionSetFindsTheSame) {
  for (const FormatKind kind : {FormatKind::kQ3_K,
                                FormatKind::kQ6_K,
                                FormatKind::kIQ4_XS,
                                FormatKind::kQ2_K,
                                FormatKind::kQ4_K,
                                FormatKind::kQ5_K}) {
    const BlockTraits& traits = BlockTraitsOf(kind);
    const auto agree =
        traits.minimum ? internal::AffineSearchesAgree : internal::ScaleSearchesAgree;
    for (const bool weighted : {false, true}) {
      for (uint64_t seed = 1; seed < 20; ++seed) {
        GroupCase c(kind, weighted, 10 * seed);
        if (seed % 3 == 0) std::fill_n(c.weights.begin() + traits.group, traits.group, 0.0f);
        BlockFields start;
        RoundBlock(c.weights, traits, &start);
        EXPECT_TRUE(agree(c.block(), start)) << seed;
      }
    }
  }
}

TEST(RoundBlock, EveryInstructionSetRoundsTheSame) {
  for (const int64_t size : {8, 16, 32, 256}) {
    for (uint64_t seed = 1; seed < 20; ++seed) {
      const std::vector<float> weights = HeavyTailedValues(size, 0.02, seed);
      EXPECT_TRUE(internal::RoundingsAgree(weights, 0.001f * static_cast<float>(seed), 0.03f));
      EXPECT_TRUE(internal::RoundingsAgree(weights, -0.004f, 0.0f));
      EXPECT_TRUE(internal::RoundingsAgree(weights, 0.0f, 0.01f));
    }
  }
}

TEST(GroupFit, GivesEveryGroupTheFitOfItsOwnGrid) {
  const LevelTable& table = *LevelTableOf(BlockTraitsOf(FormatKind::kIQ4_NL));
  for (const GroupCase& c : Cases()) {
    const TurnedBlock turned(c.block());
    GroupScaleFits steps;
    GroupScaleFits levels;
    GroupAffineFits affine;
    Fits::Steps(turned, c.scales, -8, 7, &steps);
    Fits::Levels(turned, c.scales, table, &levels);
    Fits::Affine(turned, c.scales, c.minimums, 15, &affine);
    for (int g = 0; g < c.traits.groups(); ++g) {
      SCOPED_TRACE(g);
      const float scale = c.scales[g];
      float squares = 0;
      float total = 0;
      for (int i = 0; i < c.traits.group; ++i) {
        const float v = c.importance.empty() ? 1.0f : c.Importance(g)[i];
        squares += v * c.Group(g)[i] * c.Group(g)[i];
        total += v;
      }
      ExpectNear(affine.total[g], total, 0);
      if (scale == 0.0f) {
        for (const GroupScaleFits* fits : {&steps, &levels}) {
          ExpectNear(fits->error[g], squares, 0);
          EXPECT_EQ(fits->cross[g], 0);
          EXPECT_EQ(fits->energy[g], 0);
        }
        EXPECT_EQ(affine.energy[g], 0);
        continue;
      }
      const auto expect_fit = [&](const GroupScaleFits& got, const ScaleFit& expected) {
        ExpectNear(got.error[g], expected.error, 0);
        ExpectNear(got.energy[g], expected.energy, 0);
        ExpectNear(got.cross[g], expected.cross, std::sqrt(expected.error * expected.energy));
      };
      expect_fit(steps, FitSteps(c.Group(g), c.Importance(g), {scale, -8, 7}));
      expect_fit(levels, FitLevels(c.Group(g), c.Importance(g), scale, table));
      const AffineFit fit = FitAffine(c.Group(g), c.Importance(g), scale, c.minimums[g], 15);
      ExpectNear(affine.error[g], fit.error, 0);
      ExpectNear(affine.energy[g], fit.energy, 0);
      ExpectNear(affine.sum[g], fit.sum, 0);
      ExpectNear(affine.cross[g], fit.cross, std::sqrt(fit.error * fit.energy));
      ExpectNear(affine.residual[g], fit.residual, std::sqrt(fit.error * total));
    }
  }
}

// With the codes fixed the error is a paraboloid in scale and minimum: the move goes to its lowest
// point where the minimum is not below 0.
TEST(GroupFit, MovesToTheLeastErrorWithAMinimumOfAtLeastZero) {
  int stopped = 0;
  for (const GroupCase& c : Cases()) {
    GroupAffineFits fits;
    Fits::Affine(TurnedBlock(c.block()), c.scales, c.minimums, 15, &fits);
    for (int g = 0; g < c.traits.groups(); ++g) {
      const AffineFit fit = {fits.error[g],
                             fits.cross[g],
                             fits.residual[g],
                             fits.energy[g],
                             fits.sum[g],
                             fits.total[g]};
      const float a = fits.scale_step[g];
      const float b = fits.minimum_step[g];
      const float tiny = 1e-5f * fit.error;
      EXPECT_GE(c.minimums[g] + b, 0.0f);
      EXPECT_NEAR(fits.moved_error[g], fit.ErrorAfter(a, b), tiny);
      EXPECT_LE(fits.moved_error[g], fit.error + tiny);
      stopped += c.minimums[g] + b == 0.0f ? 1 : 0;
      for (const float factor : {-0.1f, 0.1f}) {
        const float other = std::max(b + factor * c.minimums[g], -c.minimums[g]);
        EXPECT_GE(fit.ErrorAfter(a, other), fits.moved_error[g] - tiny) << g;
        EXPECT_GE(fit.ErrorAfter(a + factor * c.scales[g], b), fits.moved_error[g] - tiny) << g;
      }
    }
  }
  EXPECT_GT(stopped, 10);
}

TEST(GroupFit, GroupsWithoutImportanceDoNotMove) {
  GroupCase c(FormatKind::kQ4_K, true, 3);
  for (int i = 0; i < c.traits.group; ++i) c.importance[2 * c.traits.group + i] = 0.0f;
  GroupAffineFits fits;
  Fits::Affine(TurnedBlock(c.block()), c.scales, c.minimums, 15, &fits);
  EXPECT_EQ(fits.scale_step[2], 0.0f);
  EXPECT_EQ(fits.minimum_step[2], 0.0f);
  EXPECT_EQ(fits.moved_error[2], std::numeric_limits<float>::infinity());
  EXPECT_LT(fits.moved_error[1], std::numeric_limits<float>::infinity());
}

}  // namespace
}  // namespace bitbudget
