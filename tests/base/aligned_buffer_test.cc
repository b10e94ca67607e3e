#include "runtime/base/aligned_buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

namespace bitbudget {
namespace {

TEST(AlignedBuffer, StartsOnACacheLineForAnySize) {
  for (const int64_t size : {1, 3, 15, 16, 17, 1000}) {
    const AlignedBuffer<float> buffer(size);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u) << size;
    EXPECT_EQ(buffer.size(), size);
    EXPECT_EQ(buffer.span().size(), static_cast<size_t>(size));
  }
}

TEST(AlignedBuffer, IsEmptyBeforeAndAfterSizeZero) {
  AlignedBuffer<double> buffer;
  EXPECT_EQ(buffer.size(), 0);
  EXPECT_TRUE(buffer.span().empty());
  buffer.Fill(1.0);
  buffer.Resize(0);
  EXPECT_TRUE(buffer.span().empty());
}

TEST(AlignedBuffer, ShrinkingKeepsTheAllocation) {
  AlignedBuffer<int32_t> buffer(100);
  const int32_t* const data = buffer.data();
  buffer.Resize(10);
  EXPECT_EQ(buffer.size(), 10);
  buffer.Resize(100);
  EXPECT_EQ(buffer.data(), data);
}

TEST(AlignedBuffer, MovesItsElements) {
  AlignedBuffer<int32_t> from(3);
  from.Fill(7);
  const AlignedBuffer<int32_t> to = std::move(from);
  ASSERT_EQ(to.size(), 3);
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(to[i], 7);
}

}  // namespace
}  // namespace bitbudget
