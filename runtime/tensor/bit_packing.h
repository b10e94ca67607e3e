#ifndef BITBUDGET_RUNTIME_TENSOR_BIT_PACKING_H_
#define BITBUDGET_RUNTIME_TENSOR_BIT_PACKING_H_

#include <cstdint>
#include <span>

namespace bitbudget {

// Values of `bits` bits each, one after the other, the low bits of a byte first; what is left of
// the last byte is 0. REQUIRES: 0 <= bits <= 32, values below 2^bits, room for ceil(size * bits /
// 8) bytes.
template <typename T>
void PackBits(std::span<const T> values, int bits, uint8_t* out) {
  uint64_t pending = 0;
  int count = 0;
  for (const T value : values) {
    pending |= static_cast<uint64_t>(value) << count;
    for (count += bits; count >= 8; count -= 8, pending >>= 8) *out++ = pending & 0xff;
  }
  if (count > 0) *out = static_cast<uint8_t>(pending);
}

// Value `i` of those. Only the bytes that hold it are read.
inline uint64_t LoadBits(const uint8_t* bytes, int64_t i, int bits) {
  const int64_t bit = i * bits;
  const int shift = static_cast<int>(bit % 8);
  bytes += bit / 8;
  uint64_t value = 0;
  for (int have = 0; have < shift + bits; have += 8) value |= uint64_t{*bytes++} << have;
  return value >> shift & ((uint64_t{1} << bits) - 1);
}

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_BIT_PACKING_H_
