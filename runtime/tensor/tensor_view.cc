#include "runtime/tensor/tensor_view.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/tensor/block_codec.h"

namespace bitbudget {
namespace {

// An element at any address: checkpoints do not align their tensors.
template <typename T>
T LoadUnaligned(const std::byte* data, int64_t index) {
  T value;
  std::memcpy(&value, data + index * static_cast<int64_t>(sizeof(T)), sizeof(T));
  return value;
}

// A float is NaN or infinite when all its exponent bits are set. Whole blocks are counted without a
// branch, so that the scan runs at memory speed; the index is looked for in the first bad block.
template <typename T>
int64_t FirstWithAllBits(const std::byte* data, int64_t size, T exponent) {
  constexpr int64_t kBlock = 1024;
  for (int64_t begin = 0; begin < size; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, size);
    int bad = 0;
    for (int64_t i = begin; i < end; ++i) {
      bad += (LoadUnaligned<T>(data, i) & exponent) == exponent;
    }
    if (bad == 0) continue;
    for (int64_t i = begin; i < end; ++i) {
      if ((LoadUnaligned<T>(data, i) & exponent) == exponent) return i;
    }
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
      DecodeBlocks(BlockTraitsOf(format.kind), reinterpret_cast<const uint8_t*>(source), out);
  }
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
  const BlockTraits& traits = BlockTraitsOf(format.kind);
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
