#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "runtime/kernels/layout.h"
#include "runtime/kernels/linear.h"
#include "runtime/kernels/panels.h"
#include "runtime/kernels/table.h"
#include "tests/kernels/kernel_test_util.h"

namespace bitbudget {
namespace {

TEST(PackF32, PutsSixRowsSideBySideAndPadsWithZeros) {
  for (const int64_t k : {1, 7, 8, 9, 31, 65}) {
    for (int rows = 1; rows <= kTileRows; ++rows) {
      const int64_t ldx = k + 3;
      const int64_t padded_k = k + 6;
      const std::vector<float> x = RandomFloats(rows * ldx, k);
      for (const KernelTable* kernels : AvailableKernels()) {
        std::vector<float> block(padded_k * kTileRows + 1, 77);
        kernels->pack_f32(x.data(), ldx, rows, k, padded_k, block.data());
        for (int64_t i = 0; i < padded_k; ++i) {
          for (int r = 0; r < kTileRows; ++r) {
            const float expected = i < k && r < rows ? x[r * ldx + i] : 0.0f;
            ASSERT_TRUE(SameBits(block[i * kTileRows + r], expected)) << kernels->name;
          }
        }
        EXPECT_EQ(block.back(), 77) << "wrote past the block";
      }
    }
  }
}

int PairCode(const std::vector<int16_t>& codes, int64_t i, int r) {
  const int64_t at = PairOrder(i);
  return codes[at / 2 * 2 * kTileRows + 2 * r + at % 2];
}

struct Int16Block {
  std::vector<int16_t> codes;
  std::vector<float> scales;
  int Code(int64_t i, int r) const { return PairCode(codes, i, r); }
};

Int16Block Pack(const KernelTable& kernels, const std::vector<float>& x, int rows, int64_t k) {
  const int64_t padded_k = (k + kInputPad - 1) / kInputPad * kInputPad;
  Int16Block out;
  out.codes.assign(padded_k * kTileRows, 77);
  out.scales.assign(kTileRows, 77);
  kernels.pack_i16(x.data(),
                   x.size() / rows,
                   rows,
                   k,
                   padded_k,
                   padded_k,
                   kMaxInt16Code,
                   out.codes.data(),
                   out.scales.data());
  return out;
}

// The same rows with int8 codes in groups, in both layouts.
struct Int8Block {
  std::vector<int16_t> wide;
  std::vector<int8_t> codes;
  std::vector<float> wide_scales, scales, sums;
  int64_t group;
  int WideCode(int64_t i, int r) const { return PairCode(wide, i, r); }
  int Code(int64_t i, int r) const { return codes[i / 4 * 4 * kTileRows + 4 * r + i % 4]; }
  float Scale(int64_t i, int r) const { return scales[i / group * kTileRows + r]; }
  float Sum(int64_t i, int r) const { return sums[i / group * kTileRows + r]; }
};

Int8Block PackInt8(
    const KernelTable& kernels, const std::vector<float>& x, int rows, int64_t k, int64_t group) {
  const int64_t padded_k = (k + kInputPad - 1) / kInputPad * kInputPad;
  const int64_t groups = (padded_k + group - 1) / group;
  Int8Block out;
  out.group = group;
  out.wide.assign(padded_k * kTileRows, 77);
  out.codes.assign(padded_k * kTileRows, 77);
  out.scales.assign(groups * kTileRows, 77);
  out.wide_scales = out.sums = out.scales;
  const int64_t ldx = static_cast<int64_t>(x.size()) / rows;
  kernels.pack_i16(x.data(),
                   ldx,
                   rows,
                   k,
                   padded_k,
                   group,
                   kMaxInt8Code,
                   out.wide.data(),
                   out.wide_scales.data());
  kernels.pack_i8(x.data(),
                  ldx,
                  rows,
                  k,
                  padded_k,
                  group,
                  out.codes.data(),
                  out.scales.data(),
                  out.sums.data());
  EXPECT_TRUE(SameBits(out.wide_scales, out.scales));
  return out;
}

TEST(PackI8, EveryGroupHasItsOwnScaleAndSum) {
  for (const int64_t k : {1, 15, 16, 17, 31, 33, 64, 129, 300}) {
    for (const int64_t group : {16, 32, 64, 128, 256}) {
      for (int rows = 1; rows <= kTileRows; ++rows) {
        std::vector<float> x = RandomFloats(rows * (k + 1), 200 + k);
        for (size_t i = 0; i < x.size(); ++i) x[i] = std::ldexp(x[i], static_cast<int>(i % 37 / 4));
        for (const KernelTable* kernels : AvailableKernels()) {
          const Int8Block block = PackInt8(*kernels, x, rows, k, group);
          const int64_t padded_k = static_cast<int64_t>(block.codes.size()) / kTileRows;
          for (int r = 0; r < kTileRows; ++r) {
            const float* row = x.data() + r * (k + 1);
            for (int64_t begin = 0; begin < padded_k; begin += group) {
              float absmax = 0;
              int sum = 0;
              for (int64_t i = begin; i < std::min(begin + group, k) && r < rows; ++i) {
                absmax = std::max(absmax, std::abs(row[i]));
              }
              for (int64_t i = begin; i < std::min(begin + group, padded_k); ++i) {
                const float code =
                    i < k && r < rows ? std::nearbyint(row[i] * (127.0f / absmax)) : 0.0f;
                sum += static_cast<int>(code);
                ASSERT_EQ(block.Code(i, r), static_cast<int>(code))
                    << kernels->name << " k=" << k << " group=" << group << " i=" << i;
                ASSERT_EQ(block.WideCode(i, r), static_cast<int>(code)) << kernels->name;
              }
              ASSERT_TRUE(SameBits(block.Scale(begin, r), absmax / 127.0f));
              ASSERT_EQ(block.Sum(begin, r), static_cast<float>(sum));
            }
          }
        }
      }
    }
  }
}

TEST(PackI8, TiesGoToEvenAndTheEndsAreReached) {
  const std::vector<float> x = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, -127.0f};
  const std::vector<int> expected = {127, 0, 2, 2, 0, -2, -2, -127};
  for (const KernelTable* kernels : AvailableKernels()) {
    const Int8Block block = PackInt8(*kernels, x, 1, 8, 32);
    for (int i = 0; i < 8; ++i) EXPECT_EQ(block.Code(i, 0), expected[i]) << kernels->name;
  }
}

TEST(PackI8, ANonFiniteValueSpoilsTheScaleOfItsGroupOnly) {
  const float kInf = std::numeric_limits<float>::infinity();
  for (const KernelTable* kernels : AvailableKernels()) {
    for (const float bad : {kInf, -kInf, std::numeric_limits<float>::quiet_NaN()}) {
      std::vector<float> x(2 * 96, 1.0f);
      x[40] = bad;
      const Int8Block block = PackInt8(*kernels, x, 2, 96, 32);
      for (int64_t i = 0; i < 96; ++i) {
        const bool spoilt = i / 32 == 1;
        EXPECT_EQ(std::isnan(block.Scale(i, 0)), spoilt);
        EXPECT_EQ(block.Code(i, 0), spoilt ? 0 : 127);
        EXPECT_EQ(block.Sum(i, 0), spoilt ? 0 : 32 * 127);
        EXPECT_FALSE(std::isnan(block.Scale(i, 1)));
      }
    }
  }
}

TEST(PackI16, RoundsToNearestEvenWithThePromisedScale) {
  for (const int64_t k : {1, 7, 8, 9, 16, 17, 31, 33, 300}) {
    for (int rows = 1; rows <= kTileRows; ++rows) {
      const std::vector<float> x = RandomFloats(rows * (k + 1), 100 + k);
      for (const KernelTable* kernels : AvailableKernels()) {
        const Int16Block block = Pack(*kernels, x, rows, k);
        const int64_t padded_k = static_cast<int64_t>(block.codes.size()) / kTileRows;
        for (int r = 0; r < kTileRows; ++r) {
          float absmax = 0;
          for (int64_t i = 0; i < k && r < rows; ++i) {
            absmax = std::max(absmax, std::abs(x[r * (k + 1) + i]));
          }
          EXPECT_TRUE(SameBits(block.scales[r], absmax / 32767.0f));
          for (int64_t i = 0; i < padded_k; ++i) {
            const float code =
                i < k && r < rows ? std::nearbyint(x[r * (k + 1) + i] * (32767.0f / absmax)) : 0.0f;
            ASSERT_EQ(block.Code(i, r), static_cast<int>(code))
                << kernels->name << " k=" << k << " i=" << i << " r=" << r;
          }
        }
      }
    }
  }
}

TEST(PackI16, TiesGoToEven) {
  const std::vector<float> x = {32767.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, -32767.0f};
  const std::vector<int> expected = {32767, 0, 2, 2, 0, -2, -2, -32767};
  for (const KernelTable* kernels : AvailableKernels()) {
    const Int16Block block = Pack(*kernels, x, 1, 8);
    EXPECT_EQ(block.scales[0], 1.0f);
    for (int i = 0; i < 8; ++i) EXPECT_EQ(block.Code(i, 0), expected[i]) << kernels->name;
  }
}

TEST(PackI16, CodesStayInRangeForEveryMagnitude) {
  for (const KernelTable* kernels : AvailableKernels()) {
    Random random(1);
    for (int exponent = -99; exponent < 127; ++exponent) {
      for (int i = 0; i < 50; ++i) {
        const float value =
            std::ldexp(1 + static_cast<float>(random.Below(1 << 23)) * 0x1p-23f, exponent);
        const Int16Block block = Pack(*kernels, {value, -value, value / 3}, 1, 3);
        EXPECT_EQ(block.Code(0, 0), 32767);
        EXPECT_EQ(block.Code(1, 0), -32767);
        EXPECT_EQ(block.Code(2, 0), 10922);
      }
    }
  }
}

TEST(PackI16, ZeroAndVanishingRowsHaveScaleZero) {
  for (const KernelTable* kernels : AvailableKernels()) {
    for (const float value : {0.0f, -0.0f, 0x1p-149f, 0x1.fffffep-101f}) {
      const Int16Block block = Pack(*kernels, {value, -value}, 1, 2);
      EXPECT_EQ(block.scales[0], 0);
      EXPECT_EQ(block.Code(0, 0), 0);
    }
    EXPECT_GT(Pack(*kernels, {0x1p-100f}, 1, 1).scales[0], 0);
  }
}

TEST(PackI16, ANonFiniteRowGetsScaleNanAndZeroCodes) {
  const float kInf = std::numeric_limits<float>::infinity();
  for (const KernelTable* kernels : AvailableKernels()) {
    for (const float bad : {kInf, -kInf, std::numeric_limits<float>::quiet_NaN()}) {
      for (int64_t where = 0; where < 20; ++where) {
        std::vector<float> x(40, 1.0f);
        x[where] = bad;
        const Int16Block block = Pack(*kernels, x, 2, 20);
        EXPECT_TRUE(std::isnan(block.scales[0]));
        EXPECT_TRUE(SameBits(block.scales[1], 1 / 32767.0f));
        for (int64_t i = 0; i < 20; ++i) {
          EXPECT_EQ(block.Code(i, 0), 0);
          EXPECT_EQ(block.Code(i, 1), 32767);
        }
      }
    }
  }
}

TEST(RoundActivationsInt16, IsWhatTheInt16PathSees) {
  const int64_t m = 8;
  const int64_t k = 45;
  const int64_t ldx = 50;
  const std::vector<float> before = RandomFloats(m * ldx, 3);
  std::vector<float> x = before;
  RoundActivationsInt16(x.data(), ldx, m, k);
  for (int64_t r = 0; r < m; ++r) {
    float absmax = 0;
    for (int64_t i = 0; i < k; ++i) absmax = std::max(absmax, std::abs(before[r * ldx + i]));
    const float scale = absmax / 32767.0f;
    for (int64_t i = 0; i < k; ++i) {
      const float code = std::nearbyint(before[r * ldx + i] * (32767.0f / absmax));
      EXPECT_TRUE(SameBits(x[r * ldx + i], scale * code));
    }
    for (int64_t i = k; i < ldx; ++i) EXPECT_EQ(x[r * ldx + i], before[r * ldx + i]);
  }
}

}  // namespace
}  // namespace bitbudget
