#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/quantize/encoders.h"
#include "runtime/quantize/lattice_points.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

constexpr FormatKind kKinds[] = {FormatKind::kIQ1_S,
                                 FormatKind::kIQ1_M,
                                 FormatKind::kIQ2_XXS,
                                 FormatKind::kIQ2_XS,
                                 FormatKind::kIQ2_S,
                                 FormatKind::kIQ3_XXS,
                                 FormatKind::kIQ3_S};

double ErrorOf(const float* targets, const float* weights, const int8_t* levels, int count) {
  double error = 0;
  for (int i = 0; i < count; ++i) {
    error += weights[i] * std::pow(static_cast<double>(targets[i]) - levels[i], 2);
  }
  return error;
}

// The least error of eight inputs over all codes that a block can store: every point with every
// pattern of signs, in so many words. `shift`: of iq1 types.
double LeastError(const Lattice& lattice, const float* targets, const float* weights, int shift) {
  const bool shifted = lattice.signs == Lattice::Signs::kShifted;
  const bool even = lattice.signs == Lattice::Signs::kEven;
  double least = std::numeric_limits<double>::infinity();
  const int second = lattice.dims == 4 ? lattice.points : 1;
  for (int a = 0; a < lattice.points; ++a) {
    for (int b = 0; b < second; ++b) {
      // Without a rule for the signs, parts are free of each other: the first four alone decide.
      if (lattice.dims == 4 && !even && b > 0) break;
      for (int signs = 0; signs < (shifted ? 2 : 256); ++signs) {
        if (shifted && (signs == 1) != (shift < 0)) continue;
        if (even && std::popcount(static_cast<unsigned>(signs)) % 2 != 0) continue;
        LatticeCode code;
        code.points[0] = static_cast<uint16_t>(a);
        code.points[1] = static_cast<uint16_t>(b);
        code.signs = static_cast<uint8_t>(signs);
        std::array<int8_t, kLatticeInputs> levels;
        LatticeLevels(lattice, code, levels);
        const int count = lattice.dims == 4 && !even ? 4 : kLatticeInputs;
        least = std::min(least, ErrorOf(targets, weights, levels.data(), count));
      }
    }
  }
  return least;
}

struct Case {
  std::vector<float> targets;
  std::vector<float> weights;
};
Case RandomCase(const BlockTraits& traits, uint64_t seed) {
  Random random(seed);
  Case made;
  const bool shifted = traits.lattice->signs == Lattice::Signs::kShifted;
  const float size = shifted ? 8.0f : traits.lattice->dims == 8 ? 25.0f : traits.lattice->values[4];
  const int unit = LatticePoints::Of(traits).unit();
  for (int i = 0; i < unit; ++i) {
    made.targets.push_back(size * (2 * static_cast<float>(random.Uniform()) - 1) * 1.5f);
    made.weights.push_back(std::exp(3 * static_cast<float>(random.Uniform())));
  }
  return made;
}

TEST(LatticePoints, FindsTheLeastErrorOfAllCodes) {
  for (const FormatKind kind : kKinds) {
    const BlockTraits& traits = BlockTraitsOf(kind);
    const Lattice& lattice = *traits.lattice;
    // Pairs of points with all signs are millions of codes: a few cases are enough there.
    const int cases = lattice.dims == 4 ? 1 : 40;
    for (int seed = 1; seed <= cases; ++seed) {
      const Case c = RandomCase(traits, static_cast<uint64_t>(seed));
      const LatticePoints& points = LatticePoints::Of(traits);
      std::vector<int8_t> levels(points.unit());
      const float error = points.Nearest(c.targets, c.weights, levels);
      double least = std::numeric_limits<double>::infinity();
      for (const int shift : {1, -1}) {
        if (shift < 0 && lattice.signs != Lattice::Signs::kShifted) continue;
        const bool halves = lattice.dims == 4 && lattice.signs == Lattice::Signs::kFree;
        double sum = 0;
        for (int from = 0; from < points.unit(); from += halves ? 4 : kLatticeInputs) {
          // The last half has nothing behind it that could be read.
          Case part;
          for (int i = 0; i < kLatticeInputs; ++i) {
            const size_t at = static_cast<size_t>(from + (halves ? i % 4 : i));
            part.targets.push_back(c.targets[at]);
            part.weights.push_back(c.weights[at]);
          }
          sum += LeastError(lattice, part.targets.data(), part.weights.data(), shift);
        }
        least = std::min(least, sum);
      }
      const double found =
          ErrorOf(c.targets.data(), c.weights.data(), levels.data(), points.unit());
      EXPECT_NEAR(found, least, 1e-5 * least) << traits.name;
      EXPECT_NEAR(error, least, 1e-4 * least) << traits.name;
    }
  }
}

TEST(LatticePoints, EveryInstructionSetFindsTheSame) {
  for (const FormatKind kind : kKinds) {
    const BlockTraits& traits = BlockTraitsOf(kind);
    for (uint64_t seed = 1; seed < 20; ++seed) {
      const Case c = RandomCase(traits, seed);
      EXPECT_TRUE(internal::LatticeSearchesAgree(traits, c.targets, c.weights));
    }
  }
}

double ErrorOf(const std::vector<float>& weights, const Encoding& encoding) {
  std::vector<float> decoded(encoding.rows * encoding.cols);
  DecodeReference(encoding, decoded);
  double sum = 0;
  for (size_t i = 0; i < decoded.size(); ++i) {
    sum += std::pow(static_cast<double>(weights[i]) - decoded[i], 2);
  }
  return sum;
}

Encoding MustEncode(const char* encoder,
                    const std::vector<float>& weights,
                    int64_t cols,
                    const Format& format) {
  const int64_t rows = static_cast<int64_t>(weights.size()) / cols;
  return *(*MakeEncoder(encoder))->Encode(ViewOf(weights, rows, cols), format, {});
}

TEST(LatticeEncoder, SearchesBeatRounding) {
  const std::vector<float> weights = GaussianValues(32 * 256, 0.02, 3);
  for (const FormatKind kind : kKinds) {
    const Format format = BlockFormat(kind);
    const double rtn = ErrorOf(weights, MustEncode("rtn", weights, 256, format));
    const double clip = ErrorOf(weights, MustEncode("clip", weights, 256, format));
    EXPECT_LT(clip, 0.97 * rtn) << format.Name();
  }
}

// A block that some codes hold exactly is found again up to the fineness of its integer scales.
TEST(LatticeEncoder, DecodedBlocksSurviveASecondEncoding) {
  const std::vector<float> weights = GaussianValues(32 * 256, 0.02, 4);
  for (const FormatKind kind : kKinds) {
    const Format format = BlockFormat(kind);
    const Encoding once = MustEncode("clip", weights, 256, format);
    std::vector<float> decoded(weights.size());
    DecodeReference(once, decoded);
    const double first = ErrorOf(weights, once);
    const double second = ErrorOf(decoded, MustEncode("clip", decoded, 256, format));
    EXPECT_LT(second, 0.05 * first) << format.Name();
  }
}

TEST(LatticeEncoder, AnOutlierIsKeptAndItsNeighbourBlocksAreUntouched) {
  std::vector<float> weights = GaussianValues(512, 0.02, 13);
  for (const FormatKind kind : kKinds) {
    const Format format = BlockFormat(kind);
    const Encoding without = MustEncode("clip", weights, 512, format);
    std::vector<float> with = weights;
    with[0] = 100.0f;
    const Encoding encoded = MustEncode("clip", with, 512, format);
    std::vector<float> decoded(512);
    DecodeReference(encoded, decoded);
    // Its group has no level near 0 for the others, which hold it back.
    EXPECT_GT(decoded[0], 40.0f) << format.Name();
    const int bytes = BlockTraitsOf(kind).bytes;
    EXPECT_TRUE(std::equal(
        encoded.bytes.begin() + bytes, encoded.bytes.end(), without.bytes.begin() + bytes))
        << format.Name();
  }
}

}  // namespace
}  // namespace bitbudget
