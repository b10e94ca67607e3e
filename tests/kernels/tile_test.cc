// The matrix tiles of every tier against their definition and against each other.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/kernels/layout.h"
#include "runtime/kernels/table.h"
#include "tests/kernels/kernel_test_util.h"

namespace bitbudget {
namespace {

constexpr float kUntouched = -12345.0f;

// What KernelTable::tile_f32 promises, with std::fma, one element at a time.
std::vector<float> DefinedTileF32(const std::vector<float>& a,
                                  const std::vector<float>& b,
                                  int64_t b_stride,
                                  int64_t k,
                                  int rows,
                                  int64_t panels,
                                  bool accumulate,
                                  std::vector<float> c,
                                  int64_t ldc) {
  for (int r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < panels * kPanelWidth; ++j) {
      float acc = accumulate ? c[r * ldc + j] : 0.0f;
      for (int64_t i = 0; i < k; ++i) {
        const float weight = b[j / kPanelWidth * b_stride + i * kPanelWidth + j % kPanelWidth];
        acc = std::fma(a[i * kTileRows + r], weight, acc);
      }
      c[r * ldc + j] = acc;
    }
  }
  return c;
}

void CheckTileF32(const std::vector<float>& a,
                  const std::vector<float>& b,
                  int64_t b_stride,
                  int64_t k,
                  int rows,
                  int64_t panels,
                  bool accumulate) {
  const int64_t ldc = panels * kPanelWidth + 3;
  std::vector<float> before(kTileRows * ldc, kUntouched);
  const std::vector<float> expected =
      DefinedTileF32(a, b, b_stride, k, rows, panels, accumulate, before, ldc);
  for (const KernelTable* kernels : AvailableKernels()) {
    std::vector<float> c = before;
    kernels->tile_f32(a.data(), b.data(), b_stride, k, rows, panels, accumulate, c.data(), ldc);
    EXPECT_TRUE(SameBits(c, expected)) << kernels->name << " k=" << k << " rows=" << rows
                                       << " panels=" << panels << " accumulate=" << accumulate;
  }
}

TEST(TileF32, IsOneFmaChainPerElementInEveryTier) {
  for (const int64_t k : {0, 1, 2, 3, 31, 64, 300}) {
    const int64_t b_stride = (k + 2) * kPanelWidth;
    const std::vector<float> a = RandomFloats((k + 1) * kTileRows, 1 + k);
    const std::vector<float> b = RandomFloats(9 * b_stride, 1000 + k);
    for (int rows = 1; rows <= kTileRows; ++rows) {
      for (const int64_t panels : {1, 2, 3, 4, 7, 9}) {
        for (const bool accumulate : {false, true}) {
          CheckTileF32(a, b, b_stride, k, rows, panels, accumulate);
        }
      }
    }
  }
}

TEST(TileF32, NonFiniteAndTinyValuesAgreeInEveryTier) {
  const float kInf = std::numeric_limits<float>::infinity();
  const int64_t k = 40;
  std::vector<float> a = RandomFloats(k * kTileRows, 5);
  std::vector<float> b = RandomFloats(k * kPanelWidth, 6);
  for (float& value : a) value *= 0x1p-70f;  // subnormal products
  for (float& value : b) value *= 0x1p-60f;
  CheckTileF32(a, b, k * kPanelWidth, k, 6, 1, false);
  a[7 * kTileRows + 1] = kInf;
  a[9 * kTileRows + 2] = -kInf;
  a[9 * kTileRows + 3] = std::numeric_limits<float>::quiet_NaN();
  b[7 * kPanelWidth + 5] = 0;
  b[8 * kPanelWidth + 6] = kInf;
  b[11 * kPanelWidth + 6] = -kInf;
  b[12 * kPanelWidth + 9] = std::numeric_limits<float>::max();
  CheckTileF32(a, b, k * kPanelWidth, k, 6, 1, false);
}

struct Int16Case {
  std::vector<int16_t> a, b;
  std::vector<float> a_scales, b_scales;
  int64_t a_scale_step = 0;
  Int16Panels panels;
};

Int16Case MakeInt16Case(
    int64_t padded_k, int flush, int64_t panels, int code_limit, uint64_t seed) {
  Random random(seed);
  Int16Case out;
  const int64_t groups = (padded_k + flush - 1) / flush;
  const int64_t stride = padded_k * kPanelWidth + 64;
  out.a.resize(padded_k * kTileRows);
  for (int16_t& code : out.a) {
    code =
        static_cast<int16_t>(static_cast<int>(random.Below(2 * kMaxInt16Code + 1)) - kMaxInt16Code);
  }
  out.b.resize(panels * stride);
  for (int16_t& code : out.b) {
    code = static_cast<int16_t>(static_cast<int>(random.Below(2 * code_limit + 1)) - code_limit);
  }
  out.a_scales = RandomFloats(groups * kTileRows, seed + 1);
  out.b_scales = RandomFloats(panels * (groups + 1) * kPanelWidth, seed + 2);
  out.panels = {.codes = out.b.data(),
                .code_stride = stride,
                .scales = out.b_scales.data(),
                .scale_stride = (groups + 1) * kPanelWidth,
                .inputs = padded_k,
                .flush = flush};
  return out;
}

std::vector<float> DefinedTileI16(const Int16Case& in,
                                  int rows,
                                  int64_t panels,
                                  bool accumulate,
                                  std::vector<float> c,
                                  int64_t ldc) {
  const Int16Panels& b = in.panels;
  for (int r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < panels * kPanelWidth; ++j) {
      const int64_t panel = j / kPanelWidth;
      const int64_t lane = j % kPanelWidth;
      float acc = accumulate ? c[r * ldc + j] : 0.0f;
      for (int64_t begin = 0; begin < b.inputs; begin += b.flush) {
        int64_t sum = 0;
        for (int64_t i = begin; i < begin + b.flush && i < b.inputs; ++i) {
          const int64_t code =
              b.codes[panel * b.code_stride + i / 2 * 2 * kPanelWidth + 2 * lane + i % 2];
          sum += code * in.a[i / 2 * 2 * kTileRows + 2 * r + i % 2];
        }
        EXPECT_LE(std::abs(sum), std::numeric_limits<int32_t>::max());
        const float weight_scale =
            b.scales[panel * b.scale_stride + begin / b.flush * kPanelWidth + lane];
        acc = std::fma(static_cast<float>(sum),
                       weight_scale * in.a_scales[begin / b.flush * in.a_scale_step + r],
                       acc);
      }
      c[r * ldc + j] = acc;
    }
  }
  return c;
}

void CheckTileI16(const Int16Case& in, int rows, int64_t panels, bool accumulate = false) {
  const int64_t ldc = panels * kPanelWidth + 5;
  const std::vector<float> before(kTileRows * ldc, kUntouched);
  const std::vector<float> expected = DefinedTileI16(in, rows, panels, accumulate, before, ldc);
  for (const KernelTable* kernels : AvailableKernels()) {
    std::vector<float> c = before;
    kernels->tile_i16(in.a.data(),
                      in.a_scales.data(),
                      in.a_scale_step,
                      in.panels,
                      rows,
                      panels,
                      accumulate,
                      c.data(),
                      ldc);
    EXPECT_TRUE(SameBits(c, expected))
        << kernels->name << " inputs=" << in.panels.inputs << " flush=" << in.panels.flush
        << " rows=" << rows << " panels=" << panels << " accumulate=" << accumulate;
  }
}

TEST(TileI16, IsExactPerFlushGroupInEveryTier) {
  for (const int64_t padded_k : {32, 96, 320, 512}) {
    for (const int flush : {2, 32, 64, 128, 256}) {
      Int16Case in = MakeInt16Case(padded_k, flush, 9, 255, padded_k + flush);
      for (const int64_t step : {0, kTileRows}) {
        in.a_scale_step = step;
        for (int rows = 1; rows <= kTileRows; ++rows) {
          for (const int64_t panels : {1, 2, 3, 4, 7, 9}) CheckTileI16(in, rows, panels);
          CheckTileI16(in, rows, 9, /*accumulate=*/true);
        }
      }
    }
  }
}

TEST(TileI16, LargestSumsDoNotOverflow) {
  Int16Case in = MakeInt16Case(512, kMaxFlush, 1, 255, 9);
  for (const int sign : {1, -1}) {
    for (int16_t& code : in.a) code = kMaxInt16Code;
    for (int16_t& code : in.b) code = static_cast<int16_t>(255 * sign);
    for (int rows = 1; rows <= kTileRows; ++rows) CheckTileI16(in, rows, 1);
  }
}

TEST(TileI16, AScaleOfNanMakesItsRowNanAndNoOther) {
  Int16Case in = MakeInt16Case(64, 32, 1, 127, 10);
  in.a_scales[2] = std::numeric_limits<float>::quiet_NaN();
  CheckTileI16(in, 6, 1);
}

struct CodeCase {
  std::vector<int8_t> a;
  std::vector<uint8_t> b;
  std::vector<float> a_scales, a_sums, b_scales, zeros;
  CodePanels panels;

  int largest_code() const { return panels.code_bits == 4 ? kMaxUint4Code : kMaxUint8Code; }
};

int ActivationAt(const CodeCase& in, int64_t i, int r) {
  return in.a[i / 4 * 4 * kTileRows + 4 * r + i % 4];
}

int CodeAt(const CodeCase& in, int64_t i, int64_t panel, int64_t lane) {
  const uint8_t* codes = in.b.data() + panel * in.panels.code_stride + 4 * lane + i % 4;
  if (in.panels.code_bits == 8) return codes[i / 4 * 4 * kPanelWidth];
  const int both = codes[i / 8 * 4 * kPanelWidth];
  return i % 8 < 4 ? both & 0xf : both >> 4;
}

int ZeroAt(const CodeCase& in, int64_t i, int64_t panel, int64_t lane) {
  const CodePanels& b = in.panels;
  return static_cast<int>(b.zeros[panel * b.zero_stride + i / b.group * b.zero_step + lane]);
}

void SumActivations(CodeCase* in) {
  const CodePanels& b = in->panels;
  in->a_sums.assign((b.padded_k + b.group - 1) / b.group * kTileRows, 0);
  for (int64_t i = 0; i < b.padded_k; ++i) {
    for (int r = 0; r < kTileRows; ++r) {
      in->a_sums[i / b.group * kTileRows + r] += static_cast<float>(ActivationAt(*in, i, r));
    }
  }
}

CodeCase MakeCodeCase(
    int64_t padded_k, int group, int code_bits, bool one_zero, int64_t panels, uint64_t seed) {
  Random random(seed);
  CodeCase out;
  const int64_t groups = (padded_k + group - 1) / group;
  const int64_t code_stride = padded_k * kPanelWidth * code_bits / 8 + 64;
  const int64_t scale_stride = (groups + 1) * kPanelWidth;
  out.a.resize(padded_k * kTileRows);
  for (int8_t& code : out.a) {
    code = static_cast<int8_t>(static_cast<int>(random.Below(2 * kMaxInt8Code + 1)) - kMaxInt8Code);
  }
  out.b.resize(panels * code_stride);
  for (uint8_t& codes : out.b) codes = static_cast<uint8_t>(random.Below(256));
  out.a_scales = RandomFloats(groups * kTileRows, seed + 1);
  out.b_scales = RandomFloats(panels * scale_stride, seed + 2);
  out.panels.code_bits = code_bits;
  out.zeros.resize(one_zero ? kPanelWidth : panels * scale_stride);
  for (float& zero : out.zeros) {
    const int largest = out.largest_code();
    zero = static_cast<float>(static_cast<int>(random.Below(2 * largest + 1)) - largest);
  }
  if (one_zero) std::fill(out.zeros.begin(), out.zeros.end(), out.zeros[0]);
  out.panels = {.codes = out.b.data(),
                .code_stride = code_stride,
                .scales = out.b_scales.data(),
                .scale_stride = scale_stride,
                .zeros = out.zeros.data(),
                .zero_stride = one_zero ? 0 : scale_stride,
                .zero_step = one_zero ? 0 : kPanelWidth,
                .padded_k = padded_k,
                .code_bits = code_bits,
                .group = group};
  SumActivations(&out);
  return out;
}

// With the zero point inside an exact integer sum, where the tile has it outside.
std::vector<float> DefinedTileInt8(
    const CodeCase& in, int rows, int64_t panels, std::vector<float> c, int64_t ldc) {
  const CodePanels& b = in.panels;
  for (int r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < panels * kPanelWidth; ++j) {
      const int64_t panel = j / kPanelWidth;
      const int64_t lane = j % kPanelWidth;
      float acc = 0;
      for (int64_t begin = 0; begin < b.padded_k; begin += b.group) {
        const int64_t group = begin / b.group;
        int64_t sum = 0;
        for (int64_t i = begin; i < begin + b.group && i < b.padded_k; ++i) {
          sum += (CodeAt(in, i, panel, lane) - ZeroAt(in, i, panel, lane)) * ActivationAt(in, i, r);
        }
        const float scale = b.scales[panel * b.scale_stride + group * kPanelWidth + lane] *
                            in.a_scales[group * kTileRows + r];
        acc = std::fma(static_cast<float>(sum), scale, acc);
      }
      c[r * ldc + j] = acc;
    }
  }
  return c;
}

void CheckTileInt8(const CodeCase& in, int rows, int64_t panels) {
  const int64_t ldc = panels * kPanelWidth + 5;
  const std::vector<float> before(kTileRows * ldc, kUntouched);
  const std::vector<float> expected = DefinedTileInt8(in, rows, panels, before, ldc);
  for (const KernelTable* kernels : AvailableKernels()) {
    if (in.panels.code_bits > kernels->int8_code_bits) continue;
    std::vector<float> c = before;
    kernels->tile_int8(
        in.a.data(), in.a_scales.data(), in.a_sums.data(), in.panels, rows, panels, c.data(), ldc);
    EXPECT_TRUE(SameBits(c, expected))
        << kernels->name << " bits=" << in.panels.code_bits << " padded_k=" << in.panels.padded_k
        << " group=" << in.panels.group << " rows=" << rows << " panels=" << panels;
  }
}

class CodeTile : public testing::TestWithParam<int> {};  // bits of a code

TEST_P(CodeTile, IsExactPerGroupInEveryTier) {
  for (const int64_t padded_k : {32, 96, 320, 512}) {
    for (const int group : {8, 16, 32, 64, 96, 128, 256}) {
      for (const bool one_zero : {false, true}) {
        const CodeCase in =
            MakeCodeCase(padded_k, group, GetParam(), one_zero, 9, padded_k + group);
        for (int rows = 1; rows <= kTileRows; ++rows) {
          for (const int64_t panels : {1, 2, 3, 4, 7, 9}) CheckTileInt8(in, rows, panels);
        }
      }
    }
  }
}

TEST_P(CodeTile, LargestSumsDoNotSaturate) {
  for (const int group : {32, 128, kMaxFlush}) {
    for (const int sign : {1, -1}) {
      CodeCase in = MakeCodeCase(512, group, GetParam(), false, 4, 11);
      for (uint8_t& codes : in.b) codes = 0xff;
      for (int8_t& code : in.a) code = static_cast<int8_t>(sign * kMaxInt8Code);
      // Levels stay within 8 bits, as those of formats do.
      for (float& zero : in.zeros) {
        zero = static_cast<float>(GetParam() == 8 ? 0 : -sign * kMaxUint4Code);
      }
      SumActivations(&in);
      for (int rows = 1; rows <= kTileRows; ++rows) CheckTileInt8(in, rows, 4);
    }
  }
}

TEST_P(CodeTile, AScaleOfNanMakesItsRowNanAndNoOther) {
  CodeCase in = MakeCodeCase(64, 32, GetParam(), true, 1, 12);
  in.a_scales[kTileRows + 2] = std::numeric_limits<float>::quiet_NaN();
  CheckTileInt8(in, 6, 1);
}

TEST_P(CodeTile, StretchesAreUnpackedToTheirLevelsInEveryTier) {
  const int64_t panels = 3;
  for (const int group : {8, 32, 96}) {
    for (const bool one_zero : {false, true}) {
      const CodeCase in = MakeCodeCase(320, group, GetParam(), one_zero, panels, group);
      for (const auto& [begin, end] :
           std::vector<std::pair<int64_t, int64_t>>{{0, 320}, {0, group}, {2 * group, 320}}) {
        std::vector<int16_t> expected(panels * (end - begin) * kPanelWidth + 1, 77);
        for (int64_t i = begin; i < end; ++i) {
          const int64_t at = PairOrder(i) - begin;
          for (int64_t panel = 0; panel < panels; ++panel) {
            for (int64_t lane = 0; lane < kPanelWidth; ++lane) {
              expected[panel * (end - begin) * kPanelWidth + at / 2 * 2 * kPanelWidth + 2 * lane +
                       at % 2] =
                  static_cast<int16_t>(CodeAt(in, i, panel, lane) - ZeroAt(in, i, panel, lane));
            }
          }
        }
        for (const KernelTable* kernels : AvailableKernels()) {
          std::vector<int16_t> levels(expected.size(), 77);
          kernels->unpack_codes(in.panels, begin, end, panels, levels.data());
          EXPECT_EQ(levels, expected) << kernels->name << " " << group << " " << begin;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Bits, CodeTile, testing::Values(4, 8), testing::PrintToStringParamName());

}  // namespace
}  // namespace bitbudget
