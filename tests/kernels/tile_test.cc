// The three matrix tiles of every tier against their definition and against each other.

#include <gtest/gtest.h>

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
                .padded_k = padded_k,
                .flush = flush};
  return out;
}

std::vector<float> DefinedTileI16(
    const Int16Case& in, int rows, int64_t panels, std::vector<float> c, int64_t ldc) {
  const Int16Panels& b = in.panels;
  for (int r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < panels * kPanelWidth; ++j) {
      const int64_t panel = j / kPanelWidth;
      const int64_t lane = j % kPanelWidth;
      float acc = 0;
      for (int64_t begin = 0; begin < b.padded_k; begin += b.flush) {
        int64_t sum = 0;
        for (int64_t i = begin; i < begin + b.flush && i < b.padded_k; ++i) {
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

void CheckTileI16(const Int16Case& in, int rows, int64_t panels) {
  const int64_t ldc = panels * kPanelWidth + 5;
  const std::vector<float> before(kTileRows * ldc, kUntouched);
  const std::vector<float> expected = DefinedTileI16(in, rows, panels, before, ldc);
  for (const KernelTable* kernels : AvailableKernels()) {
    std::vector<float> c = before;
    kernels->tile_i16(
        in.a.data(), in.a_scales.data(), in.a_scale_step, in.panels, rows, panels, c.data(), ldc);
    EXPECT_TRUE(SameBits(c, expected))
        << kernels->name << " padded_k=" << in.panels.padded_k << " flush=" << in.panels.flush
        << " rows=" << rows << " panels=" << panels;
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

struct Uint4Case {
  std::vector<int8_t> a;
  std::vector<uint8_t> b;
  std::vector<float> a_scales, a_sums, b_scales, zeros;
  Uint4Panels panels;
};

int ActivationAt(const Uint4Case& in, int64_t i, int r) {
  return in.a[i / 4 * 4 * kTileRows + 4 * r + i % 4];
}

int CodeAt(const Uint4Case& in, int64_t i, int64_t panel, int64_t lane) {
  const int both = in.b[panel * in.panels.code_stride + i / 8 * 4 * kPanelWidth + 4 * lane + i % 4];
  return i % 8 < 4 ? both & 0xf : both >> 4;
}

void SumActivations(Uint4Case* in) {
  const Uint4Panels& b = in->panels;
  in->a_sums.assign((b.padded_k + b.group - 1) / b.group * kTileRows, 0);
  for (int64_t i = 0; i < b.padded_k; ++i) {
    for (int r = 0; r < kTileRows; ++r) {
      in->a_sums[i / b.group * kTileRows + r] += static_cast<float>(ActivationAt(*in, i, r));
    }
  }
}

Uint4Case MakeUint4Case(int64_t padded_k, int group, bool one_zero, int64_t panels, uint64_t seed) {
  Random random(seed);
  Uint4Case out;
  const int64_t groups = (padded_k + group - 1) / group;
  const int64_t code_stride = padded_k / 2 * kPanelWidth + 64;
  const int64_t scale_stride = (groups + 1) * kPanelWidth;
  out.a.resize(padded_k * kTileRows);
  for (int8_t& code : out.a) {
    code = static_cast<int8_t>(static_cast<int>(random.Below(2 * kMaxInt8Code + 1)) - kMaxInt8Code);
  }
  out.b.resize(panels * code_stride);
  for (uint8_t& both : out.b) both = static_cast<uint8_t>(random.Below(256));
  out.a_scales = RandomFloats(groups * kTileRows, seed + 1);
  out.b_scales = RandomFloats(panels * scale_stride, seed + 2);
  out.zeros.resize(one_zero ? kPanelWidth : panels * scale_stride);
  for (float& zero : out.zeros) {
    zero =
        static_cast<float>(static_cast<int>(random.Below(2 * kMaxUint4Code + 1)) - kMaxUint4Code);
  }
  out.panels = {.codes = out.b.data(),
                .code_stride = code_stride,
                .scales = out.b_scales.data(),
                .scale_stride = scale_stride,
                .zeros = out.zeros.data(),
                .zero_stride = one_zero ? 0 : scale_stride,
                .zero_step = one_zero ? 0 : kPanelWidth,
                .padded_k = padded_k,
                .group = group};
  SumActivations(&out);
  return out;
}

// With the zero point inside an exact integer sum, where the tile has it outside.
std::vector<float> DefinedTileU4(
    const Uint4Case& in, int rows, int64_t panels, std::vector<float> c, int64_t ldc) {
  const Uint4Panels& b = in.panels;
  for (int r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < panels * kPanelWidth; ++j) {
      const int64_t panel = j / kPanelWidth;
      const int64_t lane = j % kPanelWidth;
      float acc = 0;
      for (int64_t begin = 0; begin < b.padded_k; begin += b.group) {
        const int64_t group = begin / b.group;
        const int64_t zero =
            static_cast<int64_t>(b.zeros[panel * b.zero_stride + group * b.zero_step + lane]);
        int64_t sum = 0;
        for (int64_t i = begin; i < begin + b.group && i < b.padded_k; ++i) {
          sum += (CodeAt(in, i, panel, lane) - zero) * ActivationAt(in, i, r);
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

void CheckTileU4(const Uint4Case& in, int rows, int64_t panels) {
  const int64_t ldc = panels * kPanelWidth + 5;
  const std::vector<float> before(kTileRows * ldc, kUntouched);
  const std::vector<float> expected = DefinedTileU4(in, rows, panels, before, ldc);
  for (const KernelTable* kernels : AvailableKernels()) {
    std::vector<float> c = before;
    kernels->tile_u4(
        in.a.data(), in.a_scales.data(), in.a_sums.data(), in.panels, rows, panels, c.data(), ldc);
    EXPECT_TRUE(SameBits(c, expected))
        << kernels->name << " padded_k=" << in.panels.padded_k << " group=" << in.panels.group
        << " rows=" << rows << " panels=" << panels;
  }
}

TEST(TileU4, IsExactPerGroupInEveryTier) {
  for (const int64_t padded_k : {32, 96, 320, 512}) {
    for (const int group : {32, 64, 96, 128, 256}) {
      for (const bool one_zero : {false, true}) {
        const Uint4Case in = MakeUint4Case(padded_k, group, one_zero, 9, padded_k + group);
        for (int rows = 1; rows <= kTileRows; ++rows) {
          for (const int64_t panels : {1, 2, 3, 4, 7, 9}) CheckTileU4(in, rows, panels);
        }
      }
    }
  }
}

TEST(TileU4, LargestSumsDoNotSaturate) {
  for (const int group : {32, 128, kMaxFlush}) {
    for (const int sign : {1, -1}) {
      Uint4Case in = MakeUint4Case(512, group, false, 4, 11);
      for (uint8_t& both : in.b) both = 0xff;
      for (int8_t& code : in.a) code = static_cast<int8_t>(sign * kMaxInt8Code);
      for (float& zero : in.zeros) zero = static_cast<float>(-sign * kMaxUint4Code);
      SumActivations(&in);
      for (int rows = 1; rows <= kTileRows; ++rows) CheckTileU4(in, rows, 4);
    }
  }
}

TEST(TileU4, AScaleOfNanMakesItsRowNanAndNoOther) {
  Uint4Case in = MakeUint4Case(64, 32, true, 1, 12);
  in.a_scales[kTileRows + 2] = std::numeric_limits<float>::quiet_NaN();
  CheckTileU4(in, 6, 1);
}

}  // namespace
}  // namespace bitbudget
