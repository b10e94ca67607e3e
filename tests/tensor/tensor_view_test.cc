#include "runtime/tensor/tensor_view.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/quantize/rtn_encoder.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

// `values` in `dtype`, starting `offset` bytes after an aligned address.
std::vector<std::byte> Bytes(const std::vector<float>& values, Format dtype, size_t offset) {
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

constexpr Format kFloats[] = {kFormatF32, kFormatF16, kFormatBF16};

TEST(TensorViewTest, ReadsEveryRowOfAnyTypeAtAnyAddress) {
  const std::vector<float> values = {1.0f, -2.5f, 0.0f, 384.0f, -0.0f, 0.15625f};  // fit all types
  for (const Format dtype : kFloats) {
    for (size_t offset = 0; offset < 4; ++offset) {
      const std::vector<std::byte> bytes = Bytes(values, dtype, offset);
      const TensorView view{dtype, bytes.data() + offset, 2, 3, 0};
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
  for (const Format dtype : kFloats) {
    std::vector<float> values(3000, 1.5f);
    values[5] = 65504.0f;  // the largest f16 is finite
    const std::vector<std::byte> good = Bytes(values, dtype, 1);
    EXPECT_EQ((TensorView{dtype, good.data() + 1, 3, 1000}.FirstNonFinite()), -1);
    EXPECT_TRUE(std::isfinite(TensorView{dtype, good.data() + 1, 3, 1000}.LargestMagnitude()));
    // The ends of the blocks in which the scan proceeds, and the ends of the tensor.
    for (const int64_t index : {0, 1, 1023, 1024, 2047, 2048, 2999}) {
      for (const float value : bad) {
        std::vector<float> broken = values;
        broken[index] = value;
        broken[2999] = value;
        const std::vector<std::byte> bytes = Bytes(broken, dtype, 1);
        EXPECT_EQ((TensorView{dtype, bytes.data() + 1, 3, 1000}.FirstNonFinite()), index)
            << dtype.Name() << " " << value;
        EXPECT_EQ((TensorView{dtype, bytes.data() + 1, 3, 1000}.LargestMagnitude()),
                  std::numeric_limits<float>::infinity());
      }
    }
  }
}

TEST(TensorViewTest, BlocksAreReadAsTheReferenceDecoderReadsThem) {
  for (const Format& format : SupportedFormats()) {
    if (!format.IsBlock()) continue;
    const std::vector<float> values = HeavyTailedValues(3 * 512, 0.02, 4);
    const Encoding encoding = *MakeRtnEncoder()->Encode(ViewOf(values, 3, 512), format);
    std::vector<std::byte> moved(encoding.bytes.size() + 1);  // unaligned
    std::memcpy(moved.data() + 1, encoding.bytes.data(), encoding.bytes.size());
    const TensorView view{format, moved.data() + 1, 3, 512};
    EXPECT_EQ(view.bytes(), static_cast<int64_t>(encoding.bytes.size()));
    std::vector<float> expected(512);
    std::vector<float> got(512);
    float largest = 0;
    for (int64_t row = 0; row < 3; ++row) {
      DecodeReferenceRow(encoding, row, expected);
      view.ReadRow(row, got);
      for (const float value : got) largest = std::max(largest, std::abs(value));
      EXPECT_EQ(std::memcmp(got.data(), expected.data(), 2048), 0) << format.Name();
    }
    EXPECT_EQ(view.FirstNonFinite(), -1);
    EXPECT_EQ(view.LargestMagnitude(), largest) << format.Name();
  }
}

TEST(TensorViewTest, TheLargestMagnitudeIsFoundAnywhereWhateverItsSign) {
  for (const Format dtype : kFloats) {
    for (const int64_t index : {0, 1, 1023, 1024, 2047, 2048, 2999}) {
      std::vector<float> values(3000, 1.5f);
      values[(index + 1000) % 3000] = 96.0f;
      values[index] = -100.0f;
      const std::vector<std::byte> bytes = Bytes(values, dtype, 1);
      EXPECT_EQ((TensorView{dtype, bytes.data() + 1, 3, 1000}.LargestMagnitude()), 100.0f)
          << dtype.Name() << " " << index;
    }
  }
}

TEST(TensorViewTest, ABlockWithAScaleThatIsNotFiniteIsFound) {
  // q4_0: row 1, third block. Code 8 is level 0, and 0 times infinity is NaN.
  std::vector<uint8_t> bytes(2 * 4 * 18, 0x88);
  for (size_t block = 0; block < 8; ++block) bytes[18 * block + 1] = block == 6 ? 0x7c : 0x3c;
  bytes[18 * 6] = 0;
  const TensorView view{
      *ParseFormat("q4_0"), reinterpret_cast<const std::byte*>(bytes.data()), 2, 128};
  EXPECT_EQ(view.FirstNonFinite(), 128 + 64);
  EXPECT_EQ(view.LargestMagnitude(), std::numeric_limits<float>::infinity());
}

TEST(TensorViewTest, InterleavedRowsAreReadInTheOrderOfTheMatrix) {
  // Two heads of six rows; GGUF stores rows 0 3 1 4 2 5 of each.
  std::vector<float> values(12);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  constexpr int kInFile[] = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11};
  std::vector<float> file(12);
  for (int i = 0; i < 12; ++i) file[i] = values[kInFile[i]];
  TensorView view = ViewOf(file, 12, 1);
  view.interleaved_rows = 6;
  for (int64_t row = 0; row < 12; ++row) {
    float value = -1.0f;
    view.ReadRow(row, {&value, 1});
    EXPECT_EQ(value, values[row]);
    EXPECT_EQ(kInFile[view.StoredRow(row)], row);
  }
}

TEST(TensorViewTest, LargestFiniteFloatsAreFinite) {
  const std::vector<float> values = {std::numeric_limits<float>::max(),
                                     std::numeric_limits<float>::lowest(),
                                     std::numeric_limits<float>::denorm_min()};
  EXPECT_EQ(ViewOf(values, 1, 3).FirstNonFinite(), -1);
}

TEST(TensorViewTest, EmptyViewsAreHarmless) {
  for (const Format dtype : kFloats) {
    const TensorView no_columns{dtype, nullptr, 4, 0};
    EXPECT_EQ(no_columns.FirstNonFinite(), -1);
    EXPECT_EQ(no_columns.LargestMagnitude(), 0.0f);
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
