#include "runtime/tensor/tensor_view.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "runtime/base/float16.h"

namespace bitbudget {
namespace {

// `values` in `dtype`, starting `offset` bytes after an aligned address.
std::vector<std::byte> Bytes(const std::vector<float>& values, DType dtype, size_t offset) {
  const size_t width = static_cast<size_t>(dtype.bits / 8);
  std::vector<std::byte> bytes(offset + values.size() * width);
  for (size_t i = 0; i < values.size(); ++i) {
    std::byte* out = bytes.data() + offset + i * width;
    const uint16_t narrow =
        dtype == kFormatF16 ? FloatToHalf(values[i]) : FloatToBFloat16(values[i]);
    if (dtype == kFormatF32) {
      std::memcpy(out, &values[i], width);
    } else {
      std::memcpy(out, &narrow, width);
    }
  }
  return bytes;
}

constexpr DType kDTypes[] = {kFormatF32, kFormatF16, kFormatBF16};

TEST(TensorViewTest, DTypesHaveTheirNamesSizesAndFormats) {
  EXPECT_STREQ(DTypeName(kFormatF32), "F32");
  EXPECT_STREQ(DTypeName(kFormatF16), "F16");
  EXPECT_STREQ(DTypeName(kFormatBF16), "BF16");
  for (const Format dtype : kDTypes) {
    EXPECT_EQ(dtype.bits / 8 * 8, DTypeFormat(dtype).bits);
    EXPECT_EQ(SizeBytes(DTypeFormat(dtype), 3, 5), 15 * dtype.bits / 8);
  }
  EXPECT_EQ(DTypeFormat(kFormatF16), kFormatF16);
  EXPECT_EQ(DTypeFormat(kFormatBF16), kFormatBF16);
}

TEST(TensorViewTest, ReadsEveryRowOfAnyTypeAtAnyAddress) {
  const std::vector<float> values = {1.0f, -2.5f, 0.0f, 384.0f, -0.0f, 0.15625f};  // fit all types
  for (const Format dtype : kDTypes) {
    for (size_t offset = 0; offset < 4; ++offset) {
      const std::vector<std::byte> bytes = Bytes(values, dtype, offset);
      const TensorView view{dtype, bytes.data() + offset, 2, 3};
      EXPECT_EQ(view.size(), 6);
      EXPECT_EQ(view.bytes(), 6 * dtype.bits / 8);
      std::vector<float> row(3);
      for (int64_t r = 0; r < 2; ++r) {
        view.ReadRow(r, row);
        EXPECT_EQ(std::memcmp(row.data(), values.data() + 3 * r, 12), 0) << dtype.Name();
      }
    }
  }
}

TEST(TensorViewTest, FindsTheFirstNanOrInfinityAnywhere) {
  const float bad[] = {std::numeric_limits<float>::infinity(),
                       -std::numeric_limits<float>::infinity(),
                       std::numeric_limits<float>::quiet_NaN()};
  for (const Format dtype : kDTypes) {
    std::vector<float> values(3000, 1.5f);
    values[5] = 65504.0f;  // the largest f16 is finite
    const std::vector<std::byte> good = Bytes(values, dtype, 1);
    EXPECT_EQ((TensorView{dtype, good.data() + 1, 3, 1000}.FirstNonFinite()), -1);
    // The ends of the blocks in which the scan proceeds, and the ends of the tensor.
    for (const int64_t index : {0, 1, 1023, 1024, 2047, 2048, 2999}) {
      for (const float value : bad) {
        std::vector<float> broken = values;
        broken[index] = value;
        broken[2999] = value;
        const std::vector<std::byte> bytes = Bytes(broken, dtype, 1);
        EXPECT_EQ((TensorView{dtype, bytes.data() + 1, 3, 1000}.FirstNonFinite()), index)
            << dtype.Name() << " " << value;
      }
    }
  }
}

TEST(TensorViewTest, LargestFiniteFloatsAreFinite) {
  const std::vector<float> values = {std::numeric_limits<float>::max(),
                                     std::numeric_limits<float>::lowest(),
                                     std::numeric_limits<float>::denorm_min()};
  EXPECT_EQ(ViewOf(values, 1, 3).FirstNonFinite(), -1);
}

TEST(TensorViewTest, EmptyViewsAreHarmless) {
  for (const Format dtype : kDTypes) {
    const TensorView no_columns{dtype, nullptr, 4, 0};
    EXPECT_EQ(no_columns.FirstNonFinite(), -1);
    no_columns.ReadRow(3, {});
    EXPECT_EQ((TensorView{dtype, nullptr, 0, 4}.FirstNonFinite()), -1);
  }
}

TEST(TensorViewDeathTest, WrongRowsAndSpansAreProgrammersErrors) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const std::vector<float> values(6);
  std::vector<float> row(3);
  EXPECT_DEATH(ViewOf(values, 2, 2), "");
  EXPECT_DEATH(ViewOf(values, 2, 3).ReadRow(2, row), "row 2 of 2");
  EXPECT_DEATH(ViewOf(values, 2, 3).ReadRow(-1, row), "row -1 of 2");
  EXPECT_DEATH(ViewOf(values, 3, 2).ReadRow(0, row), "");
}

}  // namespace
}  // namespace bitbudget
