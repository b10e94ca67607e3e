#include <gtest/gtest.h>

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

struct Int16Block {
  std::vector<int16_t> codes;
  std::vector<float> scales;
  int Code(int64_t i, int r) const { return codes[i / 2 * 2 * kTileRows + 2 * r + i % 2]; }
};

Int16Block Pack(const KernelTable& kernels, const std::vector<float>& x, int rows, int64_t k) {
  const int64_t padded_k = (k + kInputPad - 1) / kInputPad * kInputPad;
  Int16Block out;
  out.codes.assign(padded_k * kTileRows, 77);
  out.scales.assign(kTileRows, 77);
  kernels.pack_i16(
      x.data(), x.size() / rows, rows, k, padded_k, out.codes.data(), out.scales.data());
  return out;
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
