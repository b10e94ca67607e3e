#include "runtime/tensor/block_codec.h"

#include <glog/logging.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "runtime/base/float16.h"
#include "runtime/tensor/bit_packing.h"
#include "runtime/tensor/lattice_blocks.h"

namespace bitbudget {
namespace {

float LoadHalf(const uint8_t* bytes) {
  uint16_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return HalfToFloat(bits);
}

void StoreHalf(float value, uint8_t* bytes) {
  const uint16_t bits = FloatToHalf(value);
  std::memcpy(bytes, &bits, sizeof(bits));
}

// A plane holds kBits bits of every code. It is cut into runs of kRun bytes; the codes of a run
// fill bits 0 to kBits - 1 of its bytes in order, then the next kBits bits of the same bytes, and
// so on. Planes of one block may hold different bits of the same codes: `shift` says which.
template <int kBits, int kRun>
struct Plane {
  static constexpr int kPerRun = kRun * (8 / kBits);
  static constexpr int kMask = (1 << kBits) - 1;

  static void Read(const uint8_t* bytes, int codes, int shift, uint8_t* out) {
    for (int begin = 0; begin < codes; begin += kPerRun, bytes += kRun) {
      for (int i = 0; i < kPerRun; ++i) {
        const int bits = bytes[i % kRun] >> (i / kRun * kBits) & kMask;
        out[begin + i] = static_cast<uint8_t>(out[begin + i] | bits << shift);
      }
    }
  }

  static void Write(const uint8_t* codes, int count, int shift, uint8_t* out) {
    std::memset(out, 0, static_cast<size_t>(count * kBits / 8));
    for (int begin = 0; begin < count; begin += kPerRun, out += kRun) {
      for (int i = 0; i < kPerRun; ++i) {
        const int bits = codes[begin + i] >> shift & kMask;
        out[i % kRun] = static_cast<uint8_t>(out[i % kRun] | bits << (i / kRun * kBits));
      }
    }
  }
};

// Reads or writes the fields of a block in the order of their bytes. Both directions share one
// description of every type (Visit below).
class FieldReader {
 public:
  FieldReader(const uint8_t* bytes, BlockFields* fields) : bytes_(bytes), fields_(fields) {}
  BlockFields& fields() { return *fields_; }

  void Half(float* value) { *value = LoadHalf(Take(2)); }
  // The minimum as q4_1 and q5_1 store it: added, not subtracted.
  void NegatedHalf(float* value) { *value = -LoadHalf(Take(2)); }

  // An E8M0 exponent e as the scale 2^(e - 128) of doubled E2M1 values.
  void HalvedExponent(float* value) { *value = std::ldexp(1.0f, *Take(1) - 128); }

  template <int kBits, int kRun>
  void Codes(int count, int shift) {
    Plane<kBits, kRun>::Read(Take(count * kBits / 8), count, shift, fields_->codes.data());
  }

  // Eight scales of six bits and eight minimums of six bits in twelve bytes.
  void ScalesAndMinimums() {
    const uint8_t* b = Take(12);
    for (int j = 0; j < 4; ++j) {
      fields_->scales[j] = b[j] & 63;
      fields_->minimums[j] = b[j + 4] & 63;
      fields_->scales[j + 4] = static_cast<int16_t>((b[j + 8] & 15) | b[j] >> 6 << 4);
      fields_->minimums[j + 4] = static_cast<int16_t>(b[j + 8] >> 4 | b[j + 4] >> 6 << 4);
    }
  }

  // Sixteen bytes with a scale in the low and a minimum in the high nibble.
  void NibbleScalesAndMinimums() {
    const uint8_t* b = Take(16);
    for (int j = 0; j < 16; ++j) {
      fields_->scales[j] = b[j] & 15;
      fields_->minimums[j] = b[j] >> 4;
    }
  }

  // Sixteen scales of six bits, offset 32, in twelve bytes.
  void SixBitScales() {
    const uint8_t* b = Take(12);
    for (int j = 0; j < 16; ++j) {
      const int low = b[j % 8] >> (j / 8 * 4) & 15;
      const int high = b[8 + j % 4] >> (j / 4 * 2) & 3;
      fields_->scales[j] = static_cast<int16_t>((low | high << 4) - 32);
    }
  }

  // Eight scales of six bits, offset 32: sixteen high bits, then nibbles.
  void SplitScales() {
    const uint8_t* b = Take(6);
    const int all_high = b[0] | b[1] << 8;
    for (int j = 0; j < 8; ++j) {
      const int low = b[2 + j / 2] >> (j % 2 * 4) & 15;
      const int high = all_high >> (2 * j) & 3;
      fields_->scales[j] = static_cast<int16_t>((low | high << 4) - 32);
    }
  }

  void ByteScales() {
    const uint8_t* b = Take(16);
    for (int j = 0; j < 16; ++j) fields_->scales[j] = static_cast<int8_t>(b[j]);
  }

  void PackedCodes(int count, int bits) {
    const uint8_t* b = Take(count * bits / 8);
    for (int i = 0; i < count; ++i) fields_->codes[i] = static_cast<uint8_t>(LoadBits(b, i, bits));
  }

  // `digits` ternary digits per byte, the first codes in the most significant digit: byte j has the
  // codes j, j + bytes, ... A byte b is the fraction b / 256, rounded up, of its digits in base 3.
  void Trits(int bytes, int digits, uint8_t* codes) {
    const uint8_t* b = Take(bytes);
    int power = 1;
    for (int n = 0; n < digits; ++n, power *= 3) {
      for (int j = 0; j < bytes; ++j) {
        const int digit = (b[j] * power & 255) * 3 >> 8;
        codes[n * bytes + j] = static_cast<uint8_t>(digit);
      }
    }
  }

 private:
  const uint8_t* Take(int count) {
    const uint8_t* at = bytes_;
    bytes_ += count;
    return at;
  }

  const uint8_t* bytes_;
  BlockFields* fields_;
};

class FieldWriter {
 public:
  FieldWriter(const BlockFields& fields, uint8_t* bytes) : bytes_(bytes), fields_(fields) {}
  const BlockFields& fields() { return fields_; }

  void Half(const float* value) { StoreHalf(*value, Take(2)); }
  void NegatedHalf(const float* value) { StoreHalf(-*value, Take(2)); }

  void HalvedExponent(const float* value) {
    *Take(1) = static_cast<uint8_t>(std::ilogb(*value) + 128);
  }

  template <int kBits, int kRun>
  void Codes(int count, int shift) {
    Plane<kBits, kRun>::Write(fields_.codes.data(), count, shift, Take(count * kBits / 8));
  }

  void ScalesAndMinimums() {
    uint8_t* b = Take(12);
    for (int j = 0; j < 4; ++j) {
      const int scale = fields_.scales[j + 4];
      const int minimum = fields_.minimums[j + 4];
      b[j] = static_cast<uint8_t>(fields_.scales[j] | scale >> 4 << 6);
      b[j + 4] = static_cast<uint8_t>(fields_.minimums[j] | minimum >> 4 << 6);
      b[j + 8] = static_cast<uint8_t>((scale & 15) | (minimum & 15) << 4);
    }
  }

  void NibbleScalesAndMinimums() {
    uint8_t* b = Take(16);
    for (int j = 0; j < 16; ++j) {
      b[j] = static_cast<uint8_t>(fields_.scales[j] | fields_.minimums[j] << 4);
    }
  }

  void SixBitScales() {
    uint8_t* b = Take(12);
    std::memset(b, 0, 12);
    for (int j = 0; j < 16; ++j) {
      const int scale = fields_.scales[j] + 32;
      b[j % 8] = static_cast<uint8_t>(b[j % 8] | (scale & 15) << (j / 8 * 4));
      b[8 + j % 4] = static_cast<uint8_t>(b[8 + j % 4] | scale >> 4 << (j / 4 * 2));
    }
  }

  void SplitScales() {
    uint8_t* b = Take(6);
    std::memset(b, 0, 6);
    int all_high = 0;
    for (int j = 0; j < 8; ++j) {
      const int scale = fields_.scales[j] + 32;
      b[2 + j / 2] = static_cast<uint8_t>(b[2 + j / 2] | (scale & 15) << (j % 2 * 4));
      all_high |= scale >> 4 << (2 * j);
    }
    b[0] = static_cast<uint8_t>(all_high);
    b[1] = static_cast<uint8_t>(all_high >> 8);
  }

  void ByteScales() {
    uint8_t* b = Take(16);
    for (int j = 0; j < 16; ++j) b[j] = static_cast<uint8_t>(fields_.scales[j]);
  }

  void PackedCodes(int count, int bits) {
    PackBits(std::span(fields_.codes).first(count), bits, Take(count * bits / 8));
  }

  void Trits(int bytes, int digits, const uint8_t* codes) {
    uint8_t* b = Take(bytes);
    for (int j = 0; j < bytes; ++j) {
      int value = 0;
      for (int n = 0; n < 5; ++n) value = value * 3 + (n < digits ? codes[n * bytes + j] : 0);
      b[j] = static_cast<uint8_t>((value * 256 + 242) / 243);
    }
  }

 private:
  uint8_t* Take(int count) {
    uint8_t* at = bytes_;
    bytes_ += count;
    return at;
  }

  uint8_t* bytes_;
  const BlockFields& fields_;
};

// The fields of each type in the order of their bytes, and where the bits of its codes are.
template <typename Fields>
void Visit(const BlockTraits& traits, Fields fields) {
  auto& f = fields.fields();
  switch (traits.kind) {
    case FormatKind::kQ4_0:
    case FormatKind::kIQ4_NL:
      fields.Half(&f.d);
      return fields.template Codes<4, 16>(32, 0);
    case FormatKind::kQ4_1:
      fields.Half(&f.d);
      fields.NegatedHalf(&f.dmin);
      return fields.template Codes<4, 16>(32, 0);
    case FormatKind::kQ5_0:
      fields.Half(&f.d);
      fields.template Codes<1, 1>(32, 4);
      return fields.template Codes<4, 16>(32, 0);
    case FormatKind::kQ5_1:
      fields.Half(&f.d);
      fields.NegatedHalf(&f.dmin);
      fields.template Codes<1, 1>(32, 4);
      return fields.template Codes<4, 16>(32, 0);
    case FormatKind::kQ8_0:
      fields.Half(&f.d);
      return fields.template Codes<8, 1>(32, 0);  // int8, see below
    case FormatKind::kQ2_K:
      fields.NibbleScalesAndMinimums();
      fields.template Codes<2, 32>(256, 0);
      fields.Half(&f.d);
      return fields.Half(&f.dmin);
    case FormatKind::kQ3_K:
      fields.template Codes<1, 32>(256, 2);
      fields.template Codes<2, 32>(256, 0);
      fields.SixBitScales();
      return fields.Half(&f.d);
    case FormatKind::kQ4_K:
      fields.Half(&f.d);
      fields.Half(&f.dmin);
      fields.ScalesAndMinimums();
      return fields.template Codes<4, 32>(256, 0);
    case FormatKind::kQ5_K:
      fields.Half(&f.d);
      fields.Half(&f.dmin);
      fields.ScalesAndMinimums();
      fields.template Codes<1, 32>(256, 4);
      return fields.template Codes<4, 32>(256, 0);
    case FormatKind::kQ6_K:
      fields.template Codes<4, 64>(256, 0);
      fields.template Codes<2, 32>(256, 4);
      fields.ByteScales();
      return fields.Half(&f.d);
    case FormatKind::kIQ4_XS:
      fields.Half(&f.d);
      fields.SplitScales();
      return fields.template Codes<4, 16>(256, 0);
    case FormatKind::kTQ1_0:
      fields.Trits(32, 5, f.codes.data());
      fields.Trits(16, 5, f.codes.data() + 160);
      fields.Trits(4, 4, f.codes.data() + 240);
      return fields.Half(&f.d);
    case FormatKind::kTQ2_0:
      fields.template Codes<2, 32>(256, 0);
      return fields.Half(&f.d);
    case FormatKind::kQ1_0:
      fields.Half(&f.d);
      return fields.template Codes<1, 1>(128, 0);
    case FormatKind::kQ2_0:
      fields.Half(&f.d);
      return fields.template Codes<2, 1>(64, 0);
    case FormatKind::kMXFP4:
      fields.HalvedExponent(&f.d);
      return fields.template Codes<4, 16>(32, 0);
    case FormatKind::kAffine:
      fields.Half(&f.d);
      fields.NegatedHalf(&f.dmin);
      return fields.PackedCodes(traits.block, traits.bits);
    case FormatKind::kIQ1_S:
    case FormatKind::kIQ1_M:
    case FormatKind::kIQ2_XXS:
    case FormatKind::kIQ2_XS:
    case FormatKind::kIQ2_S:
    case FormatKind::kIQ3_XXS:
    case FormatKind::kIQ3_S:
    case FormatKind::kF32:
    case FormatKind::kF16:
    case FormatKind::kBF16:
    case FormatKind::kInteger:
    case FormatKind::kOneBit:
    case FormatKind::kRemoved:
      break;
  }
  LOG(FATAL) << "not a block format";
}

// The one type whose codes are stored as two's complement: code = value + 128.
bool StoresSignedBytes(const BlockTraits& traits) { return traits.kind == FormatKind::kQ8_0; }

}  // namespace

void UnpackBlock(const BlockTraits& traits, const uint8_t* bytes, BlockFields* fields) {
  if (traits.lattice != nullptr) return UnpackLatticeBlock(traits, bytes, fields);
  fields->dmin = 0.0f;
  fields->scales.fill(1);
  fields->minimums.fill(traits.minimum ? 1 : 0);
  fields->codes.fill(0);
  Visit(traits, FieldReader(bytes, fields));
  if (StoresSignedBytes(traits)) {
    for (int i = 0; i < traits.block; ++i) fields->codes[i] ^= 0x80;
  }
}

void PackBlock(const BlockTraits& traits, const BlockFields& fields, uint8_t* bytes) {
  if (traits.lattice != nullptr) return PackLatticeBlock(traits, fields, bytes);
  Visit(traits, FieldWriter(fields, bytes));
  if (StoresSignedBytes(traits)) {
    for (int i = 0; i < traits.block; ++i) bytes[traits.bytes - traits.block + i] ^= 0x80;
  }
}

void DecodeBlock(const BlockTraits& traits, const uint8_t* bytes, float* out) {
  BlockFields fields;
  UnpackBlock(traits, bytes, &fields);
  for (int group = 0; group < traits.groups(); ++group) {
    const float scale = fields.d * static_cast<float>(fields.scales[group]);
    const float minimum = fields.dmin * static_cast<float>(fields.minimums[group]);
    for (int i = group * traits.group; i < (group + 1) * traits.group; ++i) {
      const float product = static_cast<float>(traits.Level(fields.codes[i])) * scale;
      out[i] = traits.minimum ? product - minimum : product;
    }
  }
}

void DecodeBlocks(const BlockTraits& traits, const uint8_t* bytes, std::span<float> out) {
  CHECK_EQ(out.size() % traits.block, 0u);
  for (size_t i = 0; i < out.size(); i += traits.block, bytes += traits.bytes) {
    DecodeBlock(traits, bytes, &out[i]);
  }
}

}  // namespace bitbudget
