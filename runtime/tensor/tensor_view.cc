#include "runtime/tensor/tensor_view.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>

#include "runtime/base/float16.h"

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

int64_t DTypeBytes(DType dtype) { return dtype == DType::kF32 ? 4 : 2; }

const char* DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "F32";
    case DType::kF16:
      return "F16";
    case DType::kBF16:
      return "BF16";
  }
  LOG(FATAL) << "bad DType " << static_cast<int>(dtype);
}

Format DTypeFormat(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return kFormatF32;
    case DType::kF16:
      return kFormatF16;
    case DType::kBF16:
      return kFormatBF16;
  }
  LOG(FATAL) << "bad DType " << static_cast<int>(dtype);
}

void TensorView::ReadRow(int64_t row, std::span<float> out) const {
  CHECK(row >= 0 && row < rows) << "row " << row << " of " << rows;
  CHECK_EQ(static_cast<int64_t>(out.size()), cols);
  if (cols == 0) return;
  const std::byte* source = data + row * cols * DTypeBytes(dtype);
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out.data(), source, out.size_bytes());
      return;
    case DType::kF16:
      for (int64_t i = 0; i < cols; ++i) out[i] = HalfToFloat(LoadUnaligned<uint16_t>(source, i));
      return;
    case DType::kBF16:
      for (int64_t i = 0; i < cols; ++i) {
        out[i] = BFloat16ToFloat(LoadUnaligned<uint16_t>(source, i));
      }
      return;
  }
}

int64_t TensorView::FirstNonFinite() const {
  switch (dtype) {
    case DType::kF32:
      return FirstWithAllBits<uint32_t>(data, size(), 0x7f800000u);
    case DType::kF16:
      return FirstWithAllBits<uint16_t>(data, size(), 0x7c00u);
    case DType::kBF16:
      return FirstWithAllBits<uint16_t>(data, size(), 0x7f80u);
  }
  return -1;
}

TensorView ViewOf(std::span<const float> data, int64_t rows, int64_t cols) {
  CHECK_EQ(static_cast<int64_t>(data.size()), rows * cols);
  return {DType::kF32, reinterpret_cast<const std::byte*>(data.data()), rows, cols};
}

}  // namespace bitbudget
