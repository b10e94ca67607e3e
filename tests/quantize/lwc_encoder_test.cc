#include "runtime/quantize/lwc_encoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "runtime/quantize/clip_encoder.h"
#include "runtime/quantize/clipping.h"
#include "runtime/quantize/coded_rows.h"
#include "runtime/quantize/grid_descent.h"
#include "runtime/quantize/rtn_encoder.h"
#include "tests/support/expect_error.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

Format FormatOf(const std::string& name) {
  const absl::StatusOr<Format> format = ParseFormat(name);
  EXPECT_TRUE(format.ok()) << format.status();
  return *format;
}

const char* const kFormats[] = {"int8",
                                "int8z-g32",
                                "int4-g32",
                                "int4z-g64",
                                "int3-g32",
                                "int3z-g128",
                                "int2-g64",
                                "int2z-g32"};

// E[x x^T] of `tokens` inputs that are mixtures of fewer sources than channels, so that they are
// correlated; of rank `tokens` at most.
Gram CorrelatedGram(int64_t size, int64_t tokens, uint64_t seed) {
  const int64_t sources = size / 3 + 1;
  const std::vector<float> mixing = GaussianValues(size * sources, 1, seed);
  const std::vector<float> noise = GaussianValues(tokens * (sources + size), 1, seed + 1);
  Gram gram{size, std::vector<float>(size * size)};
  std::vector<double> x(size);
  std::vector<double> sum(size * size);
  for (int64_t t = 0; t < tokens; ++t) {
    const float* own = noise.data() + t * (sources + size);
    for (int64_t i = 0; i < size; ++i) {
      x[i] = 0.3 * own[sources + i];
      for (int64_t s = 0; s < sources; ++s) x[i] += mixing[i * sources + s] * own[s];
    }
    for (int64_t i = 0; i < size * size; ++i) sum[i] += x[i / size] * x[i % size];
  }
  for (int64_t i = 0; i < size * size; ++i) {
    gram.values[i] = static_cast<float>(sum[i] / static_cast<double>(tokens));
  }
  return gram;
}

void Silence(Gram* gram, int64_t channel) {
  for (int64_t i = 0; i < gram->size; ++i) {
    gram->values[i * gram->size + channel] = gram->values[channel * gram->size + i] = 0;
  }
}

// d H d^T of a row in double, H with 1 % of its mean diagonal added, and how far a float product
// may be off: every one of its size^2 terms is rounded and summed up in float.
struct RowError {
  double error = 0;
  double rounding = 0;
};
RowError ErrorOf(const Gram& gram, std::span<const float> weights, std::span<const float> decoded) {
  double trace = 0;
  for (int64_t i = 0; i < gram.size; ++i) trace += gram.Row(i)[i];
  const double damping = trace > 0 ? 0.01 * trace / static_cast<double>(gram.size) : 1;
  RowError out;
  for (int64_t i = 0; i < gram.size; ++i) {
    for (int64_t j = 0; j < gram.size; ++j) {
      const double h = gram.Row(i)[j] + (i == j ? damping : 0);
      const double term = (static_cast<double>(decoded[i]) - weights[i]) * h *
                          (static_cast<double>(decoded[j]) - weights[j]);
      out.error += term;
      out.rounding += std::abs(term);
    }
  }
  out.rounding *= static_cast<double>(gram.size) * std::numeric_limits<float>::epsilon();
  return out;
}

struct Case {
  std::string name;
  int64_t rows;
  std::vector<float> weights;
  Gram gram;
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::vector<Case> Cases() {
  std::vector<Case> cases;
  const auto add = [&](const char* name, int64_t rows, int64_t size, int64_t tokens, auto change) {
    Case c{name,
           rows,
           GaussianValues(rows * size, 0.05, 100 + cases.size()),
           CorrelatedGram(size, tokens, 200 + cases.size())};
    change(c);
    cases.push_back(std::move(c));
  };
  const auto nothing = [](Case&) {};
  add("usual", 25, 128, 400, nothing);
  add("groups_that_do_not_divide", 5, 100, 300, nothing);
  add("rank_deficient", 7, 128, 20, nothing);
  add("one_input", 3, 1, 9, nothing);
  add("dead_channels", 6, 96, 300, [](Case& c) {
    for (const int64_t channel : {0, 31, 95}) Silence(&c.gram, channel);
  });
  add("no_energy", 4, 64, 10, [](Case& c) { c.gram.values.assign(c.gram.values.size(), 0.0f); });
  add("constant_rows", 4, 64, 200, [](Case& c) {
    for (int64_t i = 0; i < 256; ++i) c.weights[i] = 0.25f * static_cast<float>(i / 64) - 0.25f;
  });
  add("outliers", 6, 128, 300, [](Case& c) {
    c.weights[5] = 1e4f;
    c.weights[300] = -1e4f;
  });
  return cases;
}

class LwcTest : public testing::TestWithParam<Case> {
 protected:
  Encoding Encode(const Encoder& encoder, const Format& format, int threads = 1) const {
    const Case& c = GetParam();
    std::vector<float> moments;
    for (int64_t i = 0; i < c.gram.size; ++i) moments.push_back(c.gram.Row(i)[i]);
    const auto encoding =
        encoder.Encode(ViewOf(c.weights, c.rows, c.gram.size), format, {moments, &c.gram}, threads);
    EXPECT_TRUE(encoding.ok()) << encoding.status();
    return *encoding;
  }

  RowError Error(const Encoding& encoding, int64_t row) const {
    const Case& c = GetParam();
    std::vector<float> decoded(c.gram.size);
    DecodeReferenceRow(encoding, row, decoded);
    return ErrorOf(c.gram, std::span(c.weights).subspan(row * c.gram.size, c.gram.size), decoded);
  }
};

TEST_P(LwcTest, IsNeverWorseThanItsStartsOnAnyRow) {
  for (const char* name : kFormats) {
    const Format format = FormatOf(name);
    const Encoding learned = Encode(*MakeLwcEncoder(), format);
    for (const auto& start : {MakeRtnEncoder(), MakeClipEncoder(), MakeImatrixEncoder()}) {
      const Encoding other = Encode(*start, format);
      for (int64_t row = 0; row < GetParam().rows; ++row) {
        const RowError own = Error(learned, row);
        const RowError theirs = Error(other, row);
        EXPECT_LE(own.error, theirs.error + own.rounding + theirs.rounding)
            << name << " against " << start->name() << ", row " << row;
      }
    }
  }
}

TEST_P(LwcTest, DoesNotDependOnThreads) {
  for (const char* name : {"int4-g32", "int2z-g64"}) {
    const Encoding alone = Encode(*MakeLwcEncoder(), FormatOf(name), 1);
    for (const int threads : {2, 5}) {
      EXPECT_EQ(Encode(*MakeLwcEncoder(), FormatOf(name), threads).bytes, alone.bytes) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Matrices, LwcTest, testing::ValuesIn(Cases()), [](const auto& info) {
  return info.param.name;
});

using LwcUsualTest = LwcTest;
INSTANTIATE_TEST_SUITE_P(Usual, LwcUsualTest, testing::Values(Cases()[0]));

TEST_P(LwcUsualTest, SavesAFifthOfTheErrorWhereInputsAreCorrelated) {
  for (const char* name : {"int4-g32", "int3z-g64", "int2z-g64"}) {
    const Encoding learned = Encode(*MakeLwcEncoder(), FormatOf(name));
    const Encoding weighed = Encode(*MakeImatrixEncoder(), FormatOf(name));
    double own = 0;
    double theirs = 0;
    for (int64_t row = 0; row < GetParam().rows; ++row) {
      own += Error(learned, row).error;
      theirs += Error(weighed, row).error;
    }
    EXPECT_LT(own, 0.8 * theirs) << name;
  }
}

TEST_P(LwcUsualTest, EncodesBlockFormatsAsImatrixDoes) {
  const Format format = FormatOf("q4_0");
  EXPECT_EQ(Encode(*MakeLwcEncoder(), format).bytes, Encode(*MakeImatrixEncoder(), format).bytes);
}

TEST(LwcEncoder, RefusesWhatIsNotFiniteOrMissing) {
  const Gram gram = CorrelatedGram(32, 50, 1);
  std::vector<float> moments;
  for (int64_t i = 0; i < gram.size; ++i) moments.push_back(gram.Row(i)[i]);
  std::vector<float> weights(64, 0.5f);
  const auto encode = [&](const InputStats& stats) {
    return MakeLwcEncoder()->Encode(ViewOf(weights, 2, 32), FormatOf("int3-g32"), stats).status();
  };
  ExpectError(encode({}), absl::StatusCode::kInvalidArgument, {"lwc", "Gram matrix"});
  weights[40] = std::numeric_limits<float>::quiet_NaN();
  ExpectError(
      encode({moments, &gram}), absl::StatusCode::kInvalidArgument, {"row 1, column 8", "nan"});
}

// The paper's clipping, in double and in so many words, with one thing frozen: how far every weight
// is from its level, in steps. That is what passing gradients straight through rounding means, and
// as a function of the step it is smooth.
struct FrozenGroup {
  FrozenGroup(const std::vector<float>& weights, const Format& format, const IntegerGrid& grid)
      : weights(weights), format(format), sign(grid.scale < 0 ? -1 : 1) {
    const int max_code = (1 << format.bits) - 1;
    for (const float w : weights) {
      const double steps = static_cast<double>(w) / grid.scale;
      const double level = std::nearbyint(steps);
      const double clamped = std::clamp<double>(level, -grid.zero, max_code - grid.zero);
      inside.push_back(level == clamped);
      offsets.push_back(level == clamped ? level - steps : clamped);
    }
  }

  double Step(const std::vector<float>& w, double high_logit, double low_logit) const {
    const auto share = [](double x) { return GroupClipping::kLargestRatio / (1 + std::exp(-x)); };
    double high = 0;
    double low = 0;
    double largest = 0;
    for (const double value : w) {
      high = std::max(high, value);
      low = std::min(low, value);
      largest = std::max(largest, std::abs(value));
    }
    if (!format.zero_point) {
      return sign * share(high_logit) * largest / ((1 << (format.bits - 1)) - 1);
    }
    return (share(high_logit) * high - share(low_logit) * low) / ((1 << format.bits) - 1);
  }

  double Loss(const std::vector<float>& w,
              double high,
              double low,
              std::span<const float> d) const {
    const double h = Step(w, high, low);
    double sum = 0;
    for (size_t j = 0; j < w.size(); ++j) {
      sum += d[j] * (inside[j] ? static_cast<double>(w[j]) + h * offsets[j] : h * offsets[j]);
    }
    return sum;
  }

  const std::vector<float>& weights;
  Format format;
  double sign;
  std::vector<bool> inside;
  std::vector<double> offsets;
};

TEST(GroupClipping, GradientAgreesWithDifferencesOfTheFrozenGroup) {
  for (const char* name : {"int4-g32", "int4z-g32", "int2-g32", "int2z-g32", "int3z-g32"}) {
    const Format format = FormatOf(name);
    for (const float shift : {0.0f, 0.03f, -1.0f}) {  // both signs, or only negative weights
      std::vector<float> weights = GaussianValues(32, 0.1, 3);
      for (float& w : weights) w += shift;
      const std::vector<float> d = GaussianValues(32, 1.0, 4);
      const GroupClipping clipping(weights, format);
      for (const double sign : {1.0, -1.0}) {
        if (sign < 0 && format.zero_point) continue;
        const GroupClipping::Logits logits{0.7, 0.9, sign};
        const GroupClipping::Grid grid = clipping.GridOf(logits);
        ASSERT_TRUE(grid.learns);
        const FrozenGroup frozen(weights, format, grid.grid);
        // Some weights are inside and some are not, or this would test half of it.
        const auto inside = std::count(frozen.inside.begin(), frozen.inside.end(), true);
        EXPECT_GT(inside, 0) << name << shift;
        std::vector<float> d_weights(32);
        const GroupClipping::Logits gradient =
            clipping.Backward(weights, logits, grid, d, d_weights);
        // The loss is a sum of 32 products of order 1 in double; a sigmoid's third derivative is
        // below 1/4, so that a central difference is off by h^2 / 24 of the loss's slope or so. The
        // gradient's levels are of weights over the step in float.
        constexpr double kStep = 1e-4;
        constexpr double kBound = 1e-5;
        const auto at = [&](double high, double low) {
          return frozen.Loss(weights, logits.high + high, logits.low + low, d);
        };
        EXPECT_NEAR(gradient.high, (at(kStep, 0) - at(-kStep, 0)) / (2 * kStep), kBound);
        EXPECT_NEAR(gradient.low, (at(0, kStep) - at(0, -kStep)) / (2 * kStep), kBound);
        for (size_t j = 0; j < weights.size(); ++j) {
          std::vector<float> moved = weights;
          constexpr float kWeightStep = 0x1p-10f;
          moved[j] = weights[j] + kWeightStep;
          const double above = frozen.Loss(moved, logits.high, logits.low, d);
          const double wide = static_cast<double>(moved[j]);
          moved[j] = weights[j] - kWeightStep;
          const double below = frozen.Loss(moved, logits.high, logits.low, d);
          EXPECT_NEAR(d_weights[j], (above - below) / (wide - moved[j]), kBound) << name << j;
        }
      }
    }
  }
}

TEST(GroupClipping, StartsFromTheGridsOfTheClipEncoder) {
  const std::vector<float> weights = GaussianValues(20 * 64, 0.1, 8);
  for (const char* name : {"int4-g64", "int4z-g64", "int2-g64", "int2z-g64", "int8"}) {
    const Format format = FormatOf(name);
    const auto encoding = MakeClipEncoder()->Encode(ViewOf(weights, 20, 64), format);
    ASSERT_TRUE(encoding.ok()) << encoding.status();
    for (int64_t row = 0; row < 20; ++row) {
      const IntegerGrid grid =
          CodedRow::Read(*encoding, FormatLevels(format), row).IntegerGrids().front();
      const std::span<const float> own = std::span(weights).subspan(row * 64, 64);
      const GroupClipping clipping(own, format);
      const IntegerGrid same = clipping.GridOf(clipping.LogitsOf(grid)).grid;
      EXPECT_EQ(same.scale, grid.scale) << name << " row " << row;
      EXPECT_EQ(same.zero, grid.zero) << name << " row " << row;
    }
  }
}

TEST(GridDescent, ReturnsTheErrorOfTheGridsAndNeverRaisesIt) {
  constexpr int64_t kSize = 80;
  const Gram gram = CorrelatedGram(kSize, 200, 6);
  for (const char* name : {"int4-g32", "int2z-g32", "int3z-g128"}) {
    const Format format = FormatOf(name);
    const GridDescent descent(gram.values, kSize, format);
    const std::vector<float> weights = GaussianValues(kSize, 0.1, 9);
    const auto start = MakeRtnEncoder()->Encode(ViewOf(weights, 1, kSize), format);
    ASSERT_TRUE(start.ok()) << start.status();
    std::vector<IntegerGrid> grids = CodedRow::Read(*start, FormatLevels(format), 0).IntegerGrids();
    GridDescent::Workspace workspace;
    double before = descent.Improve(weights, 0, grids, &workspace);
    for (const int sweeps : {1, 2, 4}) {
      const double after = descent.Improve(weights, sweeps, grids, &workspace);
      EXPECT_LE(after, before) << name;
      before = after;
      // The same in double, from what the grids decode to.
      const int64_t group = format.GroupSize(kSize);
      std::vector<float> errors(kSize);
      double error = 0;
      double terms = 0;
      for (int64_t begin = 0; begin < kSize; begin += group) {
        const int64_t count = std::min(group, kSize - begin);
        RoundingErrors(std::span(weights).subspan(begin, count),
                       grids[begin / group],
                       format,
                       std::span(errors).subspan(begin, count));
      }
      for (int64_t i = 0; i < kSize * kSize; ++i) {
        const double term =
            static_cast<double>(errors[i / kSize]) * gram.values[i] * errors[i % kSize];
        error += term;
        terms += std::abs(term);
      }
      // A sum of as many rounded products as there are inputs, per input.
      EXPECT_NEAR(after, error, terms * kSize * std::numeric_limits<float>::epsilon()) << name;
    }
  }
}

}  // namespace
}  // namespace bitbudget
