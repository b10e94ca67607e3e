#include "runtime/tensor/tensor_view.h"

#include <glog/logging.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/tensor/block_codec.h"

namespace bitbudget {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// An element at any address: checkpoints do not align their tensors.
template <typename T>
T LoadUnaligned(const std::byte* data, int64_t index) {
  T value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

// Floats of one sign are ordered as their bits are. Infinity and NaN come after all other values.
template <typename Bits>
Bits LargestBits(const std::byte* data, int64_t size) {
  constexpr Bits kSign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  constexpr int64_t kBlock = 1024;  // a constant, which compilers make vectors of
  Bits largest = 0;
  Bits block[kBlock];
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t count = std::min(kBlock, size - begin);
    if (count < kBlock) std::memset(block, 0, sizeof(block));
    std::memcpy(block, data + begin * static_cast<int64_t>(sizeof(Bits)), count * sizeof(Bits));
    for (int64_t i = 0; i < kBlock; ++i) {
      largest = std::max(largest, static_cast<Bits>(block[i] & ~kSign));
    }
  }
  return largest;
}

template <typename T>
int64_t FirstWithAllBits(const std::byte* data, int64_t size, T exponent) {
  for (int64_t i = 0; i < size; ++i) {
    if ((LoadUnaligned<T>(data, i) & exponent) == exponent) return i;
  }
  return -1;
}

}  // namespace

int64_t TensorView::StoredRow(int64_t row) const {
  if (interleaved_rows == 0) return row;
  const int64_t in_head = row % interleaved_rows;
  const int64_t half = interleaved_rows / 2;
  return row - in_head + 2 * (in_head % half) + in_head / half;
}

void TensorView::ReadRow(int64_t row, std::span<float> out) const {
  CHECK(row >= 0 && row < rows) << "row " << row << " of " << rows;
  CHECK_EQ(static_cast<int64_t>(out.size()), cols);
  if (cols == 0) return;
  const std::byte* source = RowData(row);
  switch (format.kind) {
    case FormatKind::kF32:
      std::memcpy(out.data(), source, out.size_bytes());
      return;
    case FormatKind::kF16:
      for (int64_t i = 0; i < cols; ++i) out[i] = HalfToFloat(LoadUnaligned<uint16_t>(source, i));
      return;
    case FormatKind::kBF16:
      for (int64_t i = 0; i < cols; ++i) {
        out[i] = BFloat16ToFloat(LoadUnaligned<uint16_t>(source, i));
      }
      return;
    default:
      DecodeBlocks(BlockTraitsOf(format), reinterpret_cast<const uint8_t*>(source), out);
  }
}

float TensorView::LargestMagnitude() const {
  float largest = 0;
  switch (format.kind) {
    case FormatKind::kF32:
      largest = std::bit_cast<float>(LargestBits<uint32_t>(data, size()));
      break;
    case FormatKind::kF16:
      largest = HalfToFloat(LargestBits<uint16_t>(data, size()));
      break;
    case FormatKind::kBF16:
      largest = BFloat16ToFloat(LargestBits<uint16_t>(data, size()));
      break;
    default: {
      const BlockTraits& traits = BlockTraitsOf(format);
      const uint8_t* bytes = reinterpret_cast<const uint8_t*>(data);
      std::vector<float> values(traits.block);
      for (int64_t begin = 0; begin < size(); begin += traits.block, bytes += traits.bytes) {
        DecodeBlock(traits, bytes, values.data());
        for (const float value : values) {
          if (!(std::abs(value) <= largest)) largest = std::abs(value);
          if (!std::isfinite(value)) return kInfinity;
        }
      }
    }
  }
  return std::isfinite(largest) ? largest : kInfinity;
}

int64_t TensorView::FirstNonFinite() const {
  switch (format.kind) {
    case FormatKind::kF32:
      return FirstWithAllBits<uint32_t>(data, size(), 0x7f800000u);
    case FormatKind::kF16:
      return FirstWithAllBits<uint16_t>(data, size(), 0x7c00u);
    case FormatKind::kBF16:
      return FirstWithAllBits<uint16_t>(data, size(), 0x7f80u);
    default:
      break;
  }
  const BlockTraits& traits = BlockTraitsOf(format);
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(data);
  std::vector<float> values(traits.block);
  for (int64_t begin = 0; begin < size(); begin += traits.block, bytes += traits.bytes) {
    DecodeBlock(traits, bytes, values.data());
    const auto bad = std::find_if_not(
        values.begin(), values.end(), [](float value) { return std::isfinite(value); });
    if (bad != values.end()) return begin + (bad - values.begin());
  }
  return -1;
}

TensorView ViewOf(std::span<const float> data, int64_t rows, int64_t cols) {
  CHECK_EQ(static_cast<int64_t>(data.size()), rows * cols);
  return {kFormatF32, reinterpret_cast<const std::byte*>(data.data()), rows, cols, 0};
}

}  // namespace bitbudget
