#include "runtime/tensor/one_bit.h"

#include <cstring>

#include "runtime/base/float16.h"
#include "runtime/tensor/bit_packing.h"

namespace bitbudget {

void DecodeOneBitRow(const Encoding& encoding, int64_t row, std::span<float> out) {
  const OneBitLayout layout(encoding.rows, encoding.cols);
  const uint8_t* const bytes = encoding.bytes.data();
  const auto half = [&](int64_t at) {
    uint16_t bits;
    std::memcpy(&bits, bytes + at, sizeof(bits));
    return HalfToFloat(bits);
  };
  const uint8_t* const signs = bytes + row * layout.sign_row_bytes;
  const float h = half(layout.h_offset + 2 * row);
  for (size_t i = 0; i < out.size(); ++i) {
    const float value = half(layout.g_offset + 2 * static_cast<int64_t>(i)) * h;
    out[i] = LoadBits(signs, static_cast<int64_t>(i), 1) != 0 ? -value : value;
  }
}

}  // namespace bitbudget
