#include "runtime/kernels/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "runtime/quantize/rtn_encoder.h"
#include "tests/kernels/kernel_test_util.h"
#include "tests/kernels/linear_definitions.h"
#include "tests/kernels/reference.h"

namespace bitbudget {
namespace {

constexpr float kUntouched = -12345.0f;

Encoding Encode(const std::vector<float>& weights, int64_t n, int64_t k, const Format& format) {
  absl::StatusOr<Encoding> encoding = MakeRtnEncoder()->Encode(ViewOf(weights, n, k), format);
  EXPECT_TRUE(encoding.ok()) << encoding.status();
  return *std::move(encoding);
}

std::vector<float> Product(const std::vector<float>& x,
                           int64_t m,
                           const WeightPanels& w,
                           int threads = 1,
                           int64_t extra = 0) {
  PackedActivations packed;
  PackActivations(w.packing(), x.data(), w.k, m, w.k, &packed);
  std::vector<float> y(m * (w.n + extra), kUntouched);
  Linear(packed, w, y.data(), w.n + extra, threads);
  return y;
}

// A float path element is one chain of k roundings: |error| <= k u / (1 - k u) * sum |x| |w|.
void ExpectNearReference(const std::vector<float>& y,
                         const std::vector<float>& x,
                         const std::vector<float>& weights,
                         int64_t m,
                         int64_t n,
                         int64_t k) {
  const double bound = static_cast<double>(k) * kUnit / (1 - static_cast<double>(k) * kUnit);
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t j = 0; j < n; ++j) {
      const ReferenceProduct expected =
          ReferenceDot({x.data() + r * k, static_cast<size_t>(k)},
                       {weights.data() + j * k, static_cast<size_t>(k)});
      ASSERT_NEAR(y[r * n + j], expected.value, bound * expected.norm);
    }
  }
}

TEST(Linear, F32IsWithinTheRoundingBoundOfTheReference) {
  for (const auto& [n, k] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {3, 5}, {15, 33}, {16, 64}, {17, 101}, {40, 299}, {50, 257}, {7, 4099}}) {
    const std::vector<float> weights = RandomFloats(n * k, n);
    const WeightPanels w = PackWeightsF32(ViewOf(weights, n, k));
    for (int64_t m = 1; m <= 13; ++m) {
      const std::vector<float> x = RandomFloats(m * k, m);
      ExpectNearReference(Product(x, m, w), x, weights, m, n, k);
    }
  }
}

TEST(Linear, F32OfAnEncodingIsTheProductWithItsDecodedValues) {
  for (const Format& format : SupportedFormats()) {
    if (format.kind == FormatKind::kRemoved || format.layer_norm) continue;  // below
    const int64_t n = 21, k = format.IsBlock() ? 512 : 77, m = 4;
    const Encoding encoding = Encode(RandomFloats(n * k, 1), n, k, format);
    std::vector<float> decoded(n * k);
    DecodeReference(encoding, decoded);
    const std::vector<float> x = RandomFloats(m * k, 2);
    ExpectNearReference(Product(x, m, PackWeightsF32(encoding)), x, decoded, m, n, k);
  }
}

TEST(Linear, Int16EqualsItsDefinitionBitForBit) {
  for (const Format& format : SupportedFormats()) {
    if (!format.HasLevels()) continue;
    for (const auto& [n, k] : std::vector<std::pair<int64_t, int64_t>>{
             {1, 1}, {3, 31}, {16, 64}, {17, 129}, {50, 300}, {3, 4352}, {35, 256}, {6, 1536}}) {
      if (!Fits(format, k)) continue;
      SCOPED_TRACE(format.Name() + " " + std::to_string(n) + "x" + std::to_string(k));
      const Encoding encoding = Encode(RandomFloats(n * k, n + k), n, k, format);
      const WeightPanels w = PackWeights(encoding);
      for (const int64_t m : {1, 2, 5, 6, 7, 13}) {
        const std::vector<float> x = RandomFloats(m * k, m);
        EXPECT_TRUE(SameBits(Product(x, m, w), DefinedInt16(x, m, encoding, w.flush)));
      }
    }
  }
}

TEST(Linear, Int8EqualsItsDefinitionBitForBit) {
  for (const Format& format : SupportedFormats()) {
    if (!format.HasLevels()) continue;
    for (const auto& [n, k] : std::vector<std::pair<int64_t, int64_t>>{{1, 1},
                                                                       {3, 31},
                                                                       {16, 64},
                                                                       {17, 129},
                                                                       {50, 300},
                                                                       {83, 257},
                                                                       {5, 2049},
                                                                       {35, 256},
                                                                       {6, 1536}}) {
      if (!Fits(format, k)) continue;
      SCOPED_TRACE(format.Name() + " " + std::to_string(n) + "x" + std::to_string(k));
      const Encoding encoding = Encode(RandomFloats(n * k, n + k), n, k, format);
      const WeightPanels w = PackWeightsInt8(encoding);
      const int group = format.IsBlock()    ? static_cast<int>(format.GroupSize(k))
                        : format.group == 0 ? kMaxFlush
                                            : format.group;
      for (const int64_t m : {1, 2, 5, 6, 7, 13}) {
        const std::vector<float> x = RandomFloats(m * k, m);
        EXPECT_TRUE(SameBits(Product(x, m, w), DefinedInt8(x, m, encoding, group)));
      }
    }
  }
}

// Against the plain product of x with the decoded weights. An activation moves by at most half a
// step of the scale of its `group` inputs, absmax / steps, and its code is computed from a value
// with two roundings (relative 2^-23), so by at most 0.5 + (steps + 1) * 2^-23 steps; scale and
// code once more round by u.
void ExpectWithinActivationRounding(const Encoding& encoding,
                                    const WeightPanels& w,
                                    int64_t group,
                                    double steps) {
  const int64_t n = encoding.rows, k = encoding.cols, m = 7;
  std::vector<float> decoded(n * k);
  DecodeReference(encoding, decoded);
  const std::vector<float> x = RandomFloats(m * k, 4);
  const std::vector<float> y = Product(x, m, w);
  // With minimums, levels and minimums are rounded apart, so their norms count, and there are twice
  // as many terms.
  std::vector<int16_t> levels(k);
  std::vector<float> scales(encoding.format.GroupsPerRow(k));
  std::vector<float> minimums(encoding.format.HasMinimums() ? scales.size() : 0);
  const int64_t parts = minimums.empty() ? 1 : 2;
  for (int64_t r = 0; r < m; ++r) {
    for (int64_t j = 0; j < n; ++j) {
      const ReferenceProduct expected =
          ReferenceDot({x.data() + r * k, static_cast<size_t>(k)},
                       {decoded.data() + j * k, static_cast<size_t>(k)});
      double activation_error = 0;
      double minimum_norm = 0;
      UnpackIntegerRow(encoding, j, levels, scales, minimums);
      for (int64_t i = 0; i < k && !minimums.empty(); ++i) {
        const double minimum = minimums[i / encoding.format.GroupSize(k)];
        minimum_norm += 2 * std::abs(minimum * x[r * k + i]);  // of the minimum, and of the level
      }
      for (int64_t begin = 0; begin < k; begin += group) {
        double absmax = 0;
        double weight_norm = 0;
        for (int64_t i = begin; i < std::min(begin + group, k); ++i) {
          absmax = std::max<double>(absmax, std::abs(x[r * k + i]));
          weight_norm += std::abs(decoded[j * k + i]);
        }
        activation_error += weight_norm * absmax / steps * (0.5 + (steps + 1) * 0x1p-23);
      }
      const double roundings = static_cast<double>(parts * w.flush_groups + 4);
      const double norm = expected.norm + minimum_norm + activation_error;
      const double float_error = roundings * kUnit * norm / (1 - roundings * kUnit);
      ASSERT_NEAR(y[r * n + j], expected.value, activation_error + float_error);
    }
  }
}

TEST(Linear, IsWithinTheActivationRoundingOfTheReference) {
  for (const Format& format : SupportedFormats()) {
    if (!format.HasLevels()) continue;
    const int64_t n = 33, k = format.IsBlock() ? 1024 : 1000;
    SCOPED_TRACE(format.Name());
    const Encoding encoding = Encode(RandomFloats(n * k, 3), n, k, format);
    ExpectWithinActivationRounding(encoding, PackWeights(encoding), k, 32767);
    const WeightPanels int8 = PackWeightsInt8(encoding);
    ExpectWithinActivationRounding(encoding, int8, int8.flush, 127);
  }
}

std::vector<WeightPanels> SomePanels(int64_t n, int64_t k) {
  const std::vector<float> weights = RandomFloats(n * k, 5);
  std::vector<WeightPanels> out;
  out.push_back(PackWeightsF32(ViewOf(weights, n, k)));
  for (const char* format : {"int8", "int8-g128", "int4z-g32"}) {
    out.push_back(PackWeights(Encode(weights, n, k, *ParseFormat(format))));
  }
  for (const char* format : {"int8", "int8z-g64", "int4-g32", "int4z-g32", "int4z-g128"}) {
    out.push_back(PackWeightsInt8(Encode(weights, n, k, *ParseFormat(format))));
  }
  for (const char* format : {"bf16+s50", "int4-g32+2:4", "int3z-g64+s70", "onebit", "onebit-ln"}) {
    out.push_back(PackWeights(Encode(weights, n, k, *ParseFormat(format))));
    out.push_back(PackWeightsInt8(Encode(weights, n, k, *ParseFormat(format))));
  }
  for (const Format& format : SupportedFormats()) {
    if (!format.IsBlock() || !Fits(format, k)) continue;
    out.push_back(PackWeights(Encode(weights, n, k, format)));
    out.push_back(PackWeightsInt8(Encode(weights, n, k, format)));
    out.push_back(PackWeightsLlamaCpp(Encode(weights, n, k, format)));
  }
  for (const Format& format : {kFormatF16, kFormatBF16}) {
    out.push_back(PackWeightsLlamaCpp(Encode(weights, n, k, format)));
  }
  return out;
}

TEST(Linear, ARowIsTheSameInAnyBatchAtAnyOffset) {
  const int64_t n = 77, rows = 27;
  for (const int64_t k : {301, 256}) {
    const std::vector<float> x = RandomFloats(rows * k, 6);
    for (const WeightPanels& w : SomePanels(n, k)) {
      std::vector<float> alone;
      for (int64_t r = 0; r < rows; ++r) {
        const std::vector<float> y = Product({x.begin() + r * k, x.begin() + (r + 1) * k}, 1, w);
        alone.insert(alone.end(), y.begin(), y.end());
      }
      for (int64_t begin = 0; begin < rows; ++begin) {
        for (int64_t end = begin + 1; end <= rows; ++end) {
          const std::vector<float> y =
              Product({x.begin() + begin * k, x.begin() + end * k}, end - begin, w);
          ASSERT_TRUE(SameBits(y, {alone.data() + begin * n, y.size()})) << begin << ".." << end;
        }
      }
    }
  }
}

TEST(Linear, RowsBeyondTheRowBlockAreTheSame) {
  const int64_t n = 20, k = 64, m = 500;
  const std::vector<float> x = RandomFloats(m * k, 7);
  for (const WeightPanels& w : SomePanels(n, k)) {
    const std::vector<float> all = Product(x, m, w);
    for (const int64_t r : {0, 239, 240, 241, 479, 480, 499}) {
      const std::vector<float> y = Product({x.begin() + r * k, x.begin() + (r + 1) * k}, 1, w);
      EXPECT_TRUE(SameBits(y, {all.data() + r * n, y.size()})) << r;
    }
  }
}

TEST(Linear, ThreadsDoNotChangeResults) {
  const int64_t n = 333, k = 256;
  for (const WeightPanels& w : SomePanels(n, k)) {
    for (const int64_t m : {1, 7, 250}) {
      const std::vector<float> x = RandomFloats(m * k, 8);
      const std::vector<float> one = Product(x, m, w, 1);
      EXPECT_TRUE(SameBits(Product(x, m, w, 2), one));
      EXPECT_TRUE(SameBits(Product(x, m, w, 4), one));
    }
  }
}

TEST(Linear, WritesNothingBeyondTheOutputs) {
  for (int64_t n = 1; n <= 50; ++n) {
    for (const WeightPanels& w : SomePanels(n, 33)) {
      for (const int64_t m : {1, 3, 6, 8}) {
        const std::vector<float> x = RandomFloats(m * 33, 9);
        const std::vector<float> exact = Product(x, m, w);
        const std::vector<float> wide = Product(x, m, w, 1, 5);
        for (int64_t r = 0; r < m; ++r) {
          for (int64_t j = 0; j < n + 5; ++j) {
            const float expected = j < n ? exact[r * n + j] : kUntouched;
            ASSERT_TRUE(SameBits(wide[r * (n + 5) + j], expected)) << "n=" << n << " m=" << m;
          }
        }
      }
    }
  }
}

TEST(Linear, ANonFiniteRowSpoilsOnlyItself) {
  const int64_t n = 20, k = 256, m = 7;
  for (const WeightPanels& w : SomePanels(n, k)) {
    std::vector<float> x = RandomFloats(m * k, 10);
    const std::vector<float> before = Product(x, m, w);
    x[3 * k + 11] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> after = Product(x, m, w);
    for (int64_t i = 0; i < m * n; ++i) {
      if (i / n == 3) {
        EXPECT_TRUE(std::isnan(after[i]));
      } else {
        EXPECT_TRUE(SameBits(after[i], before[i]));
      }
    }
  }
}

TEST(Linear, ARemovedMatrixGivesZerosOfAnyInput) {
  const int64_t n = 20, k = 70, m = 7;
  std::vector<float> x = RandomFloats(m * k, 10);
  x[5] = std::numeric_limits<float>::infinity();
  const Encoding encoding = Encode(RandomFloats(n * k, 2), n, k, *ParseFormat("removed"));
  for (const WeightPanels& w :
       {PackWeights(encoding), PackWeightsInt8(encoding), PackWeightsF32(encoding)}) {
    EXPECT_EQ(w.path, Path::kNone);
    EXPECT_EQ(w.bytes(), 0);
    const std::vector<float> y = Product(x, m, w, 2, /*extra=*/3);
    for (int64_t i = 0; i < m * (n + 3); ++i) {
      EXPECT_TRUE(SameBits(y[i], i % (n + 3) < n ? 0.0f : kUntouched)) << i;
    }
  }
}

// Layer norm in double of the products of the same matrix without it. The products are the same
// bits; what is left is one rounding of the result and that of the sums, far below another.
TEST(Linear, OneBitLayersWithALayerNormAreNormalised) {
  const int64_t n = 50, k = 300, m = 9;
  const std::vector<float> x = RandomFloats(m * k, 11);
  const std::vector<float> weights = RandomFloats(n * k, 12);
  const std::vector<float> plain =
      Product(x, m, PackWeights(Encode(weights, n, k, *ParseFormat("onebit"))));
  const std::vector<float> normed =
      Product(x, m, PackWeights(Encode(weights, n, k, *ParseFormat("onebit-ln"))));
  for (int64_t r = 0; r < m; ++r) {
    double mean = 0;
    double square = 0;
    for (int64_t j = 0; j < n; ++j) {
      mean += plain[r * n + j] / static_cast<double>(n);
      square += static_cast<double>(plain[r * n + j]) * plain[r * n + j] / static_cast<double>(n);
    }
    for (int64_t j = 0; j < n; ++j) {
      const double expected = (plain[r * n + j] - mean) / std::sqrt(square - mean * mean + 1e-5);
      EXPECT_NEAR(normed[r * n + j], expected, 2 * kUnit * std::abs(expected) + 1e-12);
    }
  }
}

TEST(Linear, AZeroRowGivesZeros) {
  for (const WeightPanels& w : SomePanels(20, 256)) {
    for (const float y : Product(std::vector<float>(256, 0.0f), 1, w)) EXPECT_EQ(y, 0.0f);
  }
}

TEST(Linear, EmptyProductsAreEmpty) {
  const WeightPanels w = PackWeightsF32(ViewOf({}, 0, 5));
  EXPECT_TRUE(Product(RandomFloats(10, 1), 2, w).empty());
  EXPECT_TRUE(Product({}, 0, SomePanels(20, 70)[1]).empty());
}

TEST(LinearDeathTest, MixedPathsAndShapesAreProgrammerErrors) {
  const std::vector<WeightPanels> panels = SomePanels(4, 64);
  const std::vector<float> x = RandomFloats(128, 1);
  std::vector<float> y(4);
  PackedActivations packed;
  PackActivations({Path::kInt8, 64, 0, 0, InputRounding::kNone, 4}, x.data(), 64, 1, 64, &packed);
  EXPECT_DEATH(Linear(packed, panels[6], y.data(), 4), "different products");  // groups of 32
  PackActivations(Path::kF32, x.data(), 64, 1, 64, &packed);
  EXPECT_DEATH(Linear(packed, panels[1], y.data(), 4), "different products");
  PackActivations(Path::kF32, x.data(), 128, 1, 128, &packed);
  EXPECT_DEATH(Linear(packed, panels[0], y.data(), 4), "x.k == w.k");
}

}  // namespace
}  // namespace bitbudget
