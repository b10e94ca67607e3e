// The two matrix tiles of every tier against their definition and against each other.

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
    code = static_cast<int16_t>(static_cast<int>(random.Below(2 * kMaxActivationCode + 1)) -
                                kMaxActivationCode);
  }
  out.b.resize(panels * stride);
  for (int16_t& code : out.b) {
    code = static_cast<int16_t>(static_cast<int>(random.Below(2 * code_limit + 1)) - code_limit);
  }
  out.a_scales = RandomFloats(kTileRows, seed + 1);
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
        acc = std::fma(static_cast<float>(sum), weight_scale * in.a_scales[r], acc);
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
    kernels->tile_i16(in.a.data(), in.a_scales.data(), in.panels, rows, panels, c.data(), ldc);
    EXPECT_TRUE(SameBits(c, expected))
        << kernels->name << " padded_k=" << in.panels.padded_k << " flush=" << in.panels.flush
        << " rows=" << rows << " panels=" << panels;
  }
}

TEST(TileI16, IsExactPerFlushGroupInEveryTier) {
  for (const int64_t padded_k : {32, 96, 320, 512}) {
    for (const int flush : {2, 32, 64, 128, 256}) {
      const Int16Case in = MakeInt16Case(padded_k, flush, 9, 255, padded_k + flush);
      for (int rows = 1; rows <= kTileRows; ++rows) {
        for (const int64_t panels : {1, 2, 3, 4, 7, 9}) CheckTileI16(in, rows, panels);
      }
    }
  }
}

TEST(TileI16, LargestSumsDoNotOverflow) {
  Int16Case in = MakeInt16Case(512, kMaxFlush, 1, 255, 9);
  for (const int sign : {1, -1}) {
    for (int16_t& code : in.a) code = kMaxActivationCode;
    for (int16_t& code : in.b) code = static_cast<int16_t>(255 * sign);
    for (int rows = 1; rows <= kTileRows; ++rows) CheckTileI16(in, rows, 1);
  }
}

TEST(TileI16, AScaleOfNanMakesItsRowNanAndNoOther) {
  Int16Case in = MakeInt16Case(64, 32, 1, 127, 10);
  in.a_scales[2] = std::numeric_limits<float>::quiet_NaN();
  CheckTileI16(in, 6, 1);
}

}  // namespace
}  // namespace bitbudget
