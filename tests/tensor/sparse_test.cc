// Sparse formats: which weights they hold, their exact bytes, and that rows decode to what was
// encoded.

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/base/random.h"
#include "runtime/quantize/clip_encoder.h"
#include "runtime/quantize/pruning.h"
#include "runtime/quantize/rtn_encoder.h"
#include "runtime/tensor/sparse_layout.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

using Bytes = std::vector<uint8_t>;

Format Parse(const std::string& name) { return ParseFormat(name).value(); }

constexpr const char* kDense[] = {
    "f32", "bf16", "f16", "int8", "int8z-g32", "int4-g32", "int4z-g64", "int3-g32", "int2z-g128"};
constexpr const char* kSparsities[] = {
    "+2:4", "+s0.1", "+s12.5", "+s37.5", "+s50", "+s90", "+s97.5", "+s99.9"};
constexpr std::pair<int64_t, int64_t> kShapes[] = {
    {1, 1}, {1, 3}, {3, 1}, {1, 70}, {70, 1}, {5, 31}, {7, 33}, {65, 64}, {130, 67}, {200, 5}};

std::vector<Format> SparseFormats() {
  std::vector<Format> formats;
  for (const char* dense : kDense) {
    for (const char* sparsity : kSparsities)
      formats.push_back(Parse(std::string(dense) + sparsity));
  }
  return formats;
}

Encoding MustEncode(const Encoder& encoder,
                    const TensorView& view,
                    const Format& format,
                    const InputStats& stats = {},
                    int threads = 1) {
  absl::StatusOr<Encoding> encoding = encoder.Encode(view, format, stats, threads);
  EXPECT_TRUE(encoding.ok()) << format.Name() << " " << encoding.status();
  return encoding.ok() ? *std::move(encoding) : Encoding{};
}

std::vector<float> Decode(const Encoding& encoding) {
  std::vector<float> out(encoding.rows * encoding.cols);
  DecodeReference(encoding, out);
  return out;
}

// The mask by sorting everything: the definition.
std::vector<uint8_t> SlowMask(const std::vector<float>& weights,
                              int64_t rows,
                              int64_t cols,
                              const Format& format) {
  std::vector<uint8_t> kept(weights.size(), 1);
  const auto prune = [&](int64_t begin, int64_t size, int64_t count) {
    std::vector<int64_t> order(size);
    std::iota(order.begin(), order.end(), begin);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return std::abs(weights[a]) < std::abs(weights[b]);
    });
    for (int64_t i = 0; i < count; ++i) kept[order[i]] = 0;
  };
  if (format.sparsity.kind == SparsityKind::kShare) {
    const double pruned = static_cast<double>(rows * cols) * format.sparsity.permille / 1000;
    prune(0, rows * cols, static_cast<int64_t>(std::floor(pruned + 0.5)));
    return kept;
  }
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = 0; i < cols; i += 4) {
      const int64_t size = std::min<int64_t>(4, cols - i);
      prune(row * cols + i, size, std::max<int64_t>(0, size - 2));
    }
  }
  return kept;
}

// Values of which many are equal in magnitude, and none is 0.
std::vector<float> TiedValues(int64_t size, uint64_t seed) {
  Random random(seed);
  std::vector<float> values(size);
  for (float& value : values) {
    value =
        0.125f * static_cast<float>(1 + random.Below(6)) * (random.Below(2) == 0 ? 1.0f : -1.0f);
  }
  return values;
}

// Second moments of inputs: log-normal.
std::vector<float> PositiveValues(int64_t size) {
  std::vector<float> values = GaussianValues(size, 1.5, size);
  for (float& value : values) value = std::exp(value);
  return values;
}

TEST(SparseFormatTest, NamesRoundTrip) {
  for (const Format& format : SparseFormats()) {
    EXPECT_EQ(Parse(format.Name()), format);
    EXPECT_TRUE(IsSupported(format));
    EXPECT_TRUE(format.IsSparse());
    EXPECT_FALSE(format.Dense().IsSparse());
  }
  EXPECT_EQ(Parse("int4-g64+s37.5").sparsity, (Sparsity{SparsityKind::kShare, 375}));
  EXPECT_EQ(Parse("bf16+2:4").sparsity, (Sparsity{SparsityKind::k2of4, 0}));
  for (int permille = 1; permille < 1000; ++permille) {
    Format format = kFormatBF16;
    format.sparsity = {SparsityKind::kShare, permille};
    EXPECT_EQ(Parse(format.Name()), format);
  }
}

TEST(SparseFormatTest, NearMissesAreRefused) {
  for (const char* name :
       {"bf16+",       "bf16+s",    "bf16+s0",   "bf16+s100",  "bf16+s50.0",  "bf16+s050",
        "bf16+s50.25", "bf16+s-5",  "bf16+s+5",  "bf16+s5e1",  "bf16+s50%",   "bf16+s50+2:4",
        "bf16+1:4",    "bf16+2:4 ", "bf16 +2:4", "onebit+s50", "removed+2:4", "q4_k+s50",
        "+s50",        "int4+s50",  "bf16+snan", "bf16+sinf",  "bf16+s0.01",  "bf16+s99.99"}) {
    EXPECT_FALSE(ParseFormat(name).ok()) << name;
  }
  EXPECT_FALSE(IsSupported({FormatKind::kBF16, 16, 0, false, false, {SparsityKind::kShare, 0}}));
  EXPECT_FALSE(IsSupported({FormatKind::kBF16, 16, 0, false, false, {SparsityKind::kShare, 1000}}));
  EXPECT_FALSE(IsSupported({FormatKind::kBF16, 16, 0, false, false, {SparsityKind::kDense, 5}}));
  EXPECT_FALSE(IsSupported({FormatKind::kOneBit, 1, 0, false, false, {SparsityKind::k2of4, 0}}));
}

TEST(SparseSizeTest, SizesByHand) {
  // 2:4 of 4096 x 4096: half the codes and a bit of mask per weight.
  EXPECT_EQ(SizeBits(Parse("int4-g64+2:4"), 4096, 4096),
            (int64_t{4096} * 4096 * 13) / 4);  // 2+1+.25
  EXPECT_EQ(SizeBits(Parse("bf16+2:4"), 4096, 4096), int64_t{4096} * 4096 * 9);
  // Half of them: the same with a bitmap, and 63 entries of the directory.
  EXPECT_EQ(SizeBits(Parse("bf16+s50"), 4096, 4096), int64_t{4096} * 4096 * 9 + 63 * 64);
  // 97.5 %: 419430 of 16777216 held (16357785.6 are not, rounded up), columns of 12 bits, counts of
  // 13.
  EXPECT_EQ(SizeBytes(Parse("bf16+s97.5"), 4096, 4096),
            419430 * 2 + (419430 * 12 + 7) / 8 + 4096 * 13 / 8 + 63 * 8);
  // Odd ends: rows of 5 hold 2 + 1 in two runs (1 byte of mask), 3 codes of 3 bits (2 bytes).
  EXPECT_EQ(SizeBits(Parse("int3-g32+2:4"), 3, 5), 3 * 8 * (1 + 2 + 2));
  for (const Format& format : SparseFormats()) {
    EXPECT_EQ(SizeBits(format, 0, 77), 0);
    EXPECT_EQ(SizeBits(format, 77, 0), 0);
    EXPECT_EQ(SizeBits(format, std::numeric_limits<int64_t>::max(), 0), 0);
  }
}

TEST(SparseSizeDeathTest, SizesThatDoNotExistAreAProgrammersError) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const int64_t most = std::numeric_limits<int64_t>::max();
  EXPECT_DEATH(SizeBits(Parse("bf16+s99.9"), most, most), "exceeds 2\\^63 bits");
  EXPECT_DEATH(SizeBits(Parse("bf16+2:4"), int64_t{1} << 31, int64_t{1} << 31), "exceeds 2\\^63");
}

TEST(SparseEncoderTest, HoldsTheLargestAndDecodesTheRestToZero) {
  const auto encoder = MakeRtnEncoder();
  for (const auto& [rows, cols] : kShapes) {
    for (const uint64_t seed : {1, 2}) {
      const std::vector<float> weights =
          seed == 1 ? TiedValues(rows * cols, 7) : HeavyTailedValues(rows * cols, 0.02, 9);
      for (const Format& format : SparseFormats()) {
        SCOPED_TRACE(format.Name() + " " + std::to_string(rows) + "x" + std::to_string(cols));
        const TensorView view = ViewOf(weights, rows, cols);
        const std::vector<uint8_t> kept = SlowMask(weights, rows, cols, format);
        EXPECT_EQ(*ChooseKept(view, format, {}, 1), kept);
        const Encoding encoding = MustEncode(*encoder, view, format);
        ASSERT_EQ(static_cast<int64_t>(encoding.bytes.size()), SizeBytes(format, rows, cols));
        const std::vector<float> decoded = Decode(encoding);
        SparseReader reader(encoding);
        for (int64_t row = 0; row < rows; ++row) {
          reader.Read(row);
          std::vector<uint8_t> held(cols);
          for (const int64_t column : reader.columns()) held[column] = 1;
          for (int64_t i = 0; i < cols; ++i) {
            ASSERT_EQ(held[i], kept[row * cols + i]);
            if (held[i] != 0) continue;
            ASSERT_EQ(std::bit_cast<uint32_t>(decoded[row * cols + i]), 0u);
          }
          EXPECT_TRUE(std::is_sorted(reader.columns().begin(), reader.columns().end()));
        }
        if (!format.IsFloat()) continue;
        const std::vector<float> dense = Decode(MustEncode(*encoder, view, format.Dense()));
        for (size_t i = 0; i < dense.size(); ++i) {
          ASSERT_EQ(decoded[i], kept[i] != 0 ? dense[i] : 0.0f);
        }
      }
    }
  }
}

// A dense encoder that sees nothing but the weights that are held must choose the same grids.
TEST(SparseEncoderTest, ScalesAndZeroPointsAreFittedToHeldWeights) {
  constexpr int64_t kGroups = 40;
  for (const char* name : {"int4-g32", "int3z-g32", "int2-g64", "int8z-g32"}) {
    for (const char* sparsity : {"+2:4", "+s60"}) {
      const Format format = Parse(std::string(name) + sparsity);
      const int64_t size = kGroups * format.group;
      std::vector<float> weights = HeavyTailedValues(size, 0.02, 3);
      for (float& weight : weights) weight += 0.03f;  // so that 0 is not in the middle
      const std::vector<float> moments = PositiveValues(format.group);
      const std::vector<uint8_t> kept = SlowMask(weights, kGroups, format.group, format);
      for (const auto& encoder : {MakeRtnEncoder(), MakeClipEncoder(), MakeImatrixEncoder()}) {
        const InputStats stats{moments, nullptr};
        const std::vector<float> decoded =
            Decode(MustEncode(*encoder, ViewOf(weights, kGroups, format.group), format, stats));
        for (int64_t g = 0; g < kGroups; ++g) {
          std::vector<float> held;
          std::vector<float> held_moments;
          std::vector<float> got;
          for (int64_t i = 0; i < format.group; ++i) {
            const int64_t at = g * format.group + i;
            if (kept[at] == 0) continue;
            held.push_back(weights[at]);
            held_moments.push_back(moments[i]);
            got.push_back(decoded[at]);
          }
          const InputStats held_stats{held_moments, nullptr};
          const TensorView view = ViewOf(held, 1, static_cast<int64_t>(held.size()));
          EXPECT_EQ(got, Decode(MustEncode(*encoder, view, format.Dense(), held_stats)))
              << format.Name() << " " << encoder->name() << " group " << g;
        }
      }
    }
  }
}

TEST(SparseEncoderTest, ThreadsGiveTheSameBytes) {
  const std::vector<float> weights = HeavyTailedValues(131 * 300, 0.02, 4);
  const std::vector<float> moments = PositiveValues(300);
  for (const Pruning pruning : {Pruning::kMagnitude, Pruning::kWanda}) {
    const InputStats stats{moments, nullptr, pruning};
    for (const Format& format : SparseFormats()) {
      const TensorView view = ViewOf(weights, 131, 300);
      EXPECT_EQ(MustEncode(*MakeClipEncoder(), view, format, stats, 4).bytes,
                MustEncode(*MakeClipEncoder(), view, format, stats, 1).bytes)
          << format.Name();
    }
  }
}

TEST(SparseEncoderTest, WandaComparesWeightsTimesInputNormsWithinARow) {
  constexpr int64_t kRows = 7;
  constexpr int64_t kCols = 41;
  const std::vector<float> weights = GaussianValues(kRows * kCols, 0.02, 5);
  const std::vector<float> moments = PositiveValues(kCols);
  for (const char* name : {"bf16+s50", "int4-g32+s33.3", "bf16+2:4"}) {
    const Format format = Parse(name);
    const auto kept =
        *ChooseKept(ViewOf(weights, kRows, kCols), format, {moments, nullptr, Pruning::kWanda}, 2);
    int64_t total = 0;
    for (int64_t row = 0; row < kRows; ++row) {
      const auto score = [&](int64_t i) {
        return std::abs(weights[row * kCols + i]) * std::sqrt(moments[i]);
      };
      const int64_t width = format.sparsity.kind == SparsityKind::k2of4 ? 4 : kCols;
      for (int64_t begin = 0; begin < kCols; begin += width) {
        float most = 0.0f;  // of what is left out
        float least = std::numeric_limits<float>::infinity();
        for (int64_t i = begin; i < std::min(kCols, begin + width); ++i) {
          total += kept[row * kCols + i];
          (kept[row * kCols + i] != 0 ? least : most) =
              kept[row * kCols + i] != 0 ? std::min(least, score(i)) : std::max(most, score(i));
        }
        EXPECT_LE(most, least) << name;
      }
    }
    EXPECT_EQ(total, SparseLayout(format, kRows, kCols).kept);
    EXPECT_NE(kept, *ChooseKept(ViewOf(weights, kRows, kCols), format, {}, 1));
  }
  const auto refused = MakeClipEncoder()->Encode(
      ViewOf(weights, kRows, kCols), Parse("bf16+s50"), {{}, nullptr, Pruning::kWanda});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().message(),
            "pruning by wanda needs the moments of the inputs, from calibration text");
}

TEST(SparseEncoderTest, FisherLeavesOutWhatCostsLeastInTheWholeMatrix) {
  constexpr int64_t kRows = 7;
  constexpr int64_t kCols = 41;
  const std::vector<float> weights = GaussianValues(kRows * kCols, 0.02, 5);
  const std::vector<float> fisher = PositiveValues(kRows * kCols);
  InputStats stats;
  stats.pruning = Pruning::kFisher;
  stats.fisher = fisher;
  for (const char* name : {"bf16+s50", "int4-g32+s33.3"}) {
    const auto kept = *ChooseKept(ViewOf(weights, kRows, kCols), Parse(name), stats, 2);
    float most = 0.0f;  // of what is left out
    float least = std::numeric_limits<float>::infinity();
    for (size_t i = 0; i < kept.size(); ++i) {
      const float cost = weights[i] * weights[i] * fisher[i];
      (kept[i] != 0 ? least : most) = kept[i] != 0 ? std::min(least, cost) : std::max(most, cost);
    }
    EXPECT_LT(most, least) << name;
    EXPECT_EQ(std::count(kept.begin(), kept.end(), 1),
              SparseLayout(Parse(name), kRows, kCols).kept);
    EXPECT_NE(kept, *ChooseKept(ViewOf(weights, kRows, kCols), Parse(name), {}, 1));
    const Encoding encoding =
        MustEncode(*MakeClipEncoder(), ViewOf(weights, kRows, kCols), Parse(name), stats, 3);
    EXPECT_EQ(Decode(encoding)[std::find(kept.begin(), kept.end(), 0) - kept.begin()], 0);
  }
  stats.fisher = {};
  const auto refused =
      MakeClipEncoder()->Encode(ViewOf(weights, kRows, kCols), Parse("bf16+s50"), stats);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.status().message(),
            "pruning by fisher needs gradients, taken on calibration text");
}

TEST(SparseEncoderTest, EmptyMatricesEncode) {
  for (const Format& format : SparseFormats()) {
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{0, 7}, {7, 0}, {0, 0}}) {
      const Encoding encoding = MustEncode(*MakeClipEncoder(), ViewOf({}, rows, cols), format);
      EXPECT_TRUE(encoding.bytes.empty());
      EXPECT_TRUE(Decode(encoding).empty());
    }
  }
}

TEST(SparseEncoderTest, UnusualMatricesEncode) {
  const auto encoder = MakeClipEncoder();
  for (const Format& format : SparseFormats()) {
    for (const std::vector<float>& pattern : std::vector<std::vector<float>>{
             {0.0f}, {0.3f}, {1e4f, 1e-3f, -1e-3f}, {-1e4f, 0.02f, 0.02f, 0.02f, 0.02f}}) {
      std::vector<float> weights(9 * 67);
      for (size_t i = 0; i < weights.size(); ++i) weights[i] = pattern[i % pattern.size()];
      for (const float value : Decode(MustEncode(*encoder, ViewOf(weights, 9, 67), format))) {
        ASSERT_TRUE(std::isfinite(value));
        EXPECT_LE(std::abs(value), 1.15f * std::abs(pattern[0])) << format.Name();
      }
    }
    std::vector<float> weights(9 * 67, 0.5f);
    weights[3 * 67 + 5] = std::numeric_limits<float>::quiet_NaN();
    const auto refused = encoder->Encode(ViewOf(weights, 9, 67), format);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.status().message(), "weight at row 3, column 5 is nan, not a finite number");
  }
}

TEST(SparseGoldenTest, TwoOfFour) {
  // Runs: 1, -7 | 0.5, 5, with columns 0, 1 and 2, 3, the last one alone. Scale 1, symmetric.
  const std::vector<float> weights = {1, -7, 0.4f, 0.2f, 0.1f, -0.3f, 2, 5, -3};
  EXPECT_EQ(MustEncode(*MakeRtnEncoder(), ViewOf(weights, 1, 9), Parse("int4-g32+2:4")).bytes,
            (Bytes{/* 0 1, 2 3 */ 0xe4,
                   /* 0 (1) */ 0x04,
                   /* codes 9 1 10 13 5 */ 0x19,
                   0xda,
                   0x05,
                   /* scale 1 */ 0x00,
                   0x3c}));
}

TEST(SparseGoldenTest, ShareWithABitmap) {
  // Three of eight are left out: 0.25, 0.25 and 0.125.
  const std::vector<float> weights = {1, 0.25f, -2, 3, 0.125f, 4, -0.25f, -5};
  EXPECT_EQ(MustEncode(*MakeRtnEncoder(), ViewOf(weights, 2, 4), Parse("bf16+s37.5")).bytes,
            (Bytes{/* 1 0 1 1 */ 0x0d,
                   /* 0 1 0 1 */ 0x0a,
                   0x80,
                   0x3f,
                   0x00,
                   0xc0,
                   0x40,
                   0x40,
                   0x80,
                   0x40,
                   0xa0,
                   0xc0}));
}

TEST(SparseGoldenTest, ShareWithColumns) {
  // One of 2 x 40 is held: counts of 6 bits (0, 1), a column of 6 bits (33), its code in int2z.
  std::vector<float> weights(80);
  weights[40 + 33] = 3.0f;
  EXPECT_EQ(MustEncode(*MakeRtnEncoder(), ViewOf(weights, 2, 40), Parse("int2z-g32+s99")).bytes,
            (Bytes{/* counts */ 0x40,
                   0x00,
                   /* column */ 0x21,
                   /* code */ 0x03,
                   /* scales 0, 0; 0, 1 */ 0,
                   0,
                   0,
                   0,
                   0,
                   0,
                   0x00,
                   0x3c,
                   /* zero points */ 0,
                   0}));
}

}  // namespace
}  // namespace bitbudget
