// Weight panels decode back to what the reference decoder says, value by value.

#include "runtime/kernels/panels.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/quantize/rtn_encoder.h"
#include "tests/kernels/kernel_test_util.h"

namespace bitbudget {
namespace {

Encoding Encode(const std::vector<float>& weights, int64_t n, int64_t k, const Format& format) {
  absl::StatusOr<Encoding> encoding = MakeRtnEncoder()->Encode(ViewOf(weights, n, k), format);
  EXPECT_TRUE(encoding.ok()) << encoding.status();
  return *std::move(encoding);
}

float PanelValue(const WeightPanels& w, int64_t row, int64_t i) {
  return w.f32[(row / kPanelWidth * w.padded_k + i) * kPanelWidth + row % kPanelWidth];
}

int PanelCode(const WeightPanels& w, int64_t row, int64_t i) {
  const uint8_t* codes = w.codes.data() +
                         row / kPanelWidth * w.padded_k * kPanelWidth * w.code_bits / 8 +
                         row % kPanelWidth * 4 + i % 4;
  if (w.code_bits == 8) return codes[i / 4 * 4 * kPanelWidth];
  const int both = codes[i / 8 * 4 * kPanelWidth];
  return i % 8 < 4 ? both & 0xf : both >> 4;
}

int PanelZero(const WeightPanels& w, int64_t row, int64_t i) {
  const int64_t lane = row % kPanelWidth;
  if (w.one_zero) return static_cast<int>(w.zeros[lane]);
  const int64_t group = row / kPanelWidth * w.flush_groups + i / w.flush;
  return static_cast<int>(w.zeros[group * kPanelWidth + lane]);
}

float PanelScale(const WeightPanels& w, int64_t row, int64_t i) {
  return w
      .scales[(row / kPanelWidth * w.flush_groups + i / w.flush) * kPanelWidth + row % kPanelWidth];
}

void ExpectShape(const WeightPanels& w, int64_t n, int64_t k) {
  EXPECT_EQ(w.n, n);
  EXPECT_EQ(w.k, k);
  EXPECT_EQ(w.padded_k % kInputPad, 0);
  EXPECT_GE(w.padded_k, k);
  EXPECT_LT(w.padded_k, k + kInputPad);
  EXPECT_EQ(w.panels, (n + kPanelWidth - 1) / kPanelWidth);
}

void ExpectF32Panels(const WeightPanels& w, const std::vector<float>& decoded) {
  EXPECT_EQ(w.path, Path::kF32);
  ASSERT_EQ(w.f32.size(), w.panels * w.padded_k * kPanelWidth);
  EXPECT_EQ(w.bytes(), w.f32.size() * 4);
  for (int64_t row = 0; row < w.panels * kPanelWidth; ++row) {
    for (int64_t i = 0; i < w.padded_k; ++i) {
      const float expected = row < w.n && i < w.k ? decoded[row * w.k + i] : 0.0f;
      ASSERT_TRUE(SameBits(PanelValue(w, row, i), expected)) << row << ", " << i;
    }
  }
}

// The negated minimum, 0 in formats without any.
float PanelMinimum(const WeightPanels& w, int64_t row, int64_t i) {
  if (w.minimum_group == 0) return 0.0f;
  const int64_t group = row / kPanelWidth * w.minimum_groups() + i / w.minimum_group;
  return w.minimums[group * kPanelWidth + row % kPanelWidth];
}

void ExpectMinimumPanels(const WeightPanels& w, const Format& format) {
  ASSERT_EQ(w.minimum_group, format.HasMinimums() ? format.GroupSize(w.k) : 0);
  ASSERT_EQ(w.minimums.size(), w.panels * w.minimum_groups() * kPanelWidth);
  for (int64_t row = w.n; row < w.panels * kPanelWidth; ++row) {
    for (int64_t i = 0; i < w.k; ++i) ASSERT_EQ(PanelMinimum(w, row, i), 0.0f);
  }
}

void ExpectCodePanels(const WeightPanels& w, const Encoding& encoding, Path path, int code_bits) {
  const Format& format = encoding.format;
  EXPECT_EQ(w.path, path);
  ASSERT_EQ(w.code_bits, code_bits);
  ASSERT_GT(w.flush, 0);
  EXPECT_EQ(w.flush % (code_bits == 4 ? 8 : 4), 0);
  EXPECT_LE(w.flush, kMaxFlush);
  EXPECT_EQ(w.flush_groups, (w.padded_k + w.flush - 1) / w.flush);
  EXPECT_EQ(w.packing(),
            ActivationPacking(path,
                              path == Path::kInt8 ? w.flush : 0,
                              w.minimum_group,
                              0,
                              InputRounding::kNone,
                              code_bits));
  ASSERT_EQ(w.codes.size(), w.panels * w.padded_k * kPanelWidth * code_bits / 8);
  ASSERT_EQ(w.scales.size(), w.panels * w.flush_groups * kPanelWidth);
  ASSERT_EQ(w.one_zero, !format.zero_point);
  ASSERT_EQ(w.zeros.size(), format.zero_point ? w.scales.size() : kPanelWidth);
  EXPECT_EQ(w.bytes(), w.codes.size() + 4 * (w.scales.size() + w.zeros.size() + w.minimums.size()));
  EXPECT_EQ(w.bytes(), CodePanelBytes(format, w.n, w.k));
  ExpectMinimumPanels(w, format);
  std::vector<int16_t> levels(w.k);
  std::vector<float> scales(format.GroupsPerRow(w.k));
  std::vector<float> minimums(format.HasMinimums() ? scales.size() : 0);
  std::vector<float> decoded(w.k);
  for (int64_t row = 0; row < w.n; ++row) {
    UnpackIntegerRow(encoding, row, levels, scales, minimums);
    DecodeReferenceRow(encoding, row, decoded);
    for (int64_t i = 0; i < w.k; ++i) {
      const int level = PanelCode(w, row, i) - PanelZero(w, row, i);
      ASSERT_EQ(level, levels[i]) << row << ", " << i;
      ASSERT_TRUE(SameBits(PanelScale(w, row, i), scales[i / format.GroupSize(w.k)]));
      const float product = static_cast<float>(level) * PanelScale(w, row, i);
      ASSERT_EQ(product + PanelMinimum(w, row, i), decoded[i]);
    }
  }
  for (int64_t row = 0; row < w.panels * kPanelWidth; ++row) {
    for (int64_t i = 0; i < w.padded_k; ++i) {
      if (row < w.n && i < w.k) continue;
      ASSERT_EQ(PanelCode(w, row, i), 0) << row << ", " << i;
      if (row >= w.n) {
        ASSERT_EQ(PanelScale(w, row, i), 0);
      }
    }
  }
}

// Levels that fit four bits.
constexpr const char* kFourBitFormats[] = {
    "int4-g32",    "int4-g64",    "int4-g128",    "int4z-g32",   "int4z-g64",   "int4z-g128",
    "int3-g32",    "int3-g64",    "int3-g128",    "int3z-g32",   "int3z-g64",   "int3z-g128",
    "int2-g32",    "int2-g64",    "int2-g128",    "int2z-g32",   "int2z-g64",   "int2z-g128",
    "q4_0",        "q4_1",        "q4_k",         "q3_k",        "q2_k",        "tq1_0",
    "tq2_0",       "q1_0",        "q2_0",         "affine2-g32", "affine2-g64", "affine2-g128",
    "affine3-g32", "affine3-g64", "affine3-g128", "affine4-g32", "affine4-g64", "affine4-g128"};

bool IsOneOf(const Format& format, std::span<const char* const> names) {
  return std::any_of(
      names.begin(), names.end(), [&](const char* name) { return format.Name() == name; });
}

std::vector<Format> DenseAndSparseFormats() {
  std::vector<Format> formats(SupportedFormats().begin(), SupportedFormats().end());
  for (const char* name :
       {"bf16+2:4", "f32+s90", "int8z+s50", "int4-g32+2:4", "int3z-g64+s37.5", "int2-g128+s99"}) {
    formats.push_back(*ParseFormat(name));
  }
  return formats;
}

TEST(PackWeights, EveryFormatDecodesBackExactly) {
  for (const Format& format : DenseAndSparseFormats()) {
    for (const auto& [n, k] : std::vector<std::pair<int64_t, int64_t>>{{1, 1},
                                                                       {5, 31},
                                                                       {16, 64},
                                                                       {17, 65},
                                                                       {33, 129},
                                                                       {50, 300},
                                                                       {3, 513},
                                                                       {2, 256},
                                                                       {35, 768}}) {
      if (!Fits(format, k) || format.kind == FormatKind::kRemoved) continue;
      SCOPED_TRACE(format.Name() + " " + std::to_string(n) + "x" + std::to_string(k));
      const Encoding encoding = Encode(RandomFloats(n * k, n + k), n, k, format);
      std::vector<float> decoded(n * k);
      DecodeReference(encoding, decoded);
      const WeightPanels w = PackWeights(encoding);
      ExpectShape(w, n, k);
      const int bits = IsOneOf(format.Dense(), kFourBitFormats) ? 4 : 8;
      if (!format.HasLevels()) {
        ExpectF32Panels(w, decoded);
      } else {
        ExpectCodePanels(w, encoding, Path::kInt16, bits);
      }
      const WeightPanels int8 = PackWeightsInt8(encoding);
      ExpectShape(int8, n, k);
      if (!format.HasLevels()) {
        ExpectF32Panels(int8, decoded);
      } else {
        ExpectCodePanels(int8, encoding, Path::kInt8, bits);
      }
      const WeightPanels f32 = PackWeightsF32(encoding);
      ExpectShape(f32, n, k);
      ExpectF32Panels(f32, decoded);
    }
  }
}

TEST(PackWeights, ViewsOfEveryTypeArePackedExactly) {
  const int64_t n = 19;
  const int64_t k = 45;
  const std::vector<float> weights = RandomFloats(n * k, 1);
  for (const Format& format : {kFormatF32, kFormatF16, kFormatBF16}) {
    const Encoding encoding = Encode(weights, n, k, format);
    std::vector<float> decoded(n * k);
    DecodeReference(encoding, decoded);
    const Format dtype = format == kFormatF32   ? kFormatF32
                         : format == kFormatF16 ? kFormatF16
                                                : kFormatBF16;
    const TensorView view = {
        dtype, reinterpret_cast<const std::byte*>(encoding.bytes.data()), n, k};
    ExpectF32Panels(PackWeightsF32(view), decoded);
  }
}

TEST(PackWeights, EmptyMatricesGiveEmptyPanels) {
  for (const Format& format : DenseAndSparseFormats()) {
    if (format.kind == FormatKind::kRemoved) continue;
    SCOPED_TRACE(format.Name());
    for (const auto pack : {+[](const Encoding& e) { return PackWeights(e); },
                            +[](const Encoding& e) { return PackWeightsInt8(e); },
                            +[](const Encoding& e) { return PackWeightsF32(e); }}) {
      // No rows: no panels. What has one vector of zero points for all of them keeps it.
      const WeightPanels no_rows = pack({format, 0, 256, {}});
      ExpectShape(no_rows, 0, 256);
      EXPECT_EQ(no_rows.f32.size() + no_rows.codes.size() + no_rows.scales.size() +
                    no_rows.minimums.size(),
                0);
      EXPECT_LE(no_rows.zeros.size(), kPanelWidth);
      // No inputs: panels of rows without weights, and no group to scale.
      const Encoding no_inputs = Encode({}, 19, 0, format);
      const WeightPanels panels = pack(no_inputs);
      ExpectShape(panels, 19, 0);
      EXPECT_EQ(panels.panels, 2);
      EXPECT_EQ(panels.padded_k, 0);
      EXPECT_EQ(panels.flush_groups, 0);
      EXPECT_EQ(panels.minimum_groups(), 0);
      EXPECT_EQ(
          panels.f32.size() + panels.codes.size() + panels.scales.size() + panels.minimums.size(),
          0);
    }
  }
}

TEST(PackWeights, FlushGroupsFollowTheFormatGroup) {
  const std::vector<float> weights = RandomFloats(1000, 2);
  const auto flush = [&](const char* format) {
    return PackWeights(Encode(weights, 2, 500, *ParseFormat(format))).flush;
  };
  EXPECT_EQ(flush("int4-g32"), 32);
  EXPECT_EQ(flush("int4z-g64"), 64);
  EXPECT_EQ(flush("int8-g128"), 128);
  EXPECT_EQ(flush("int8"), kMaxFlush);
}

}  // namespace
}  // namespace bitbudget
