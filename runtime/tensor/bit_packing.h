#ifndef BITBUDGET_RUNTIME_TENSOR_BIT_PACKING_H_
#define BITBUDGET_RUNTIME_TENSOR_BIT_PACKING_H_

#include <cstdint>
#include <span>

namespace bitbudget {

// Works for the 128-bit sizes of SizeBits, too.
template <typename T>
constexpr T BytesForBits(T bits) {
  return (bits + 7) / 8;
}

// The one way in which encodings pack codes, zero points, masks and signs: value i takes the bits
// i * bits to (i + 1) * bits - 1, counted from the lowest bit of the first byte.

// Packs the values and zeroes the padding of the last byte: overwrites ceil(size * bits / 8) bytes.
// REQUIRES: 0 <= bits <= 56, values below 2^bits.
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

// Value i. Reads only the bytes that hold it. REQUIRES: 0 <= bits <= 56.
inline uint64_t LoadBits(const uint8_t* bytes, int64_t i, int bits) {
  if (bits == 8) return bytes[i];
  if (bits == 4) return bytes[i / 2] >> (i % 2 * 4) & 0xf;
  const int64_t bit = i * bits;
  const int shift = static_cast<int>(bit % 8);
  bytes += bit / 8;
  uint64_t value = 0;
  for (int have = 0; have < shift + bits; have += 8) value |= uint64_t{*bytes++} << have;
  return value >> shift & ((uint64_t{1} << bits) - 1);
}

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_BIT_PACKING_H_
