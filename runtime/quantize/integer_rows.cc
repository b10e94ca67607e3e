#include "runtime/quantize/integer_rows.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "runtime/base/float16.h"

namespace bitbudget {
namespace {

// Values of `bits` bits follow each other from the lowest bit of the first byte on.
int ReadBits(const uint8_t* bytes, int64_t index, int bits) {
  int value = 0;
  for (int b = 0; b < bits; ++b) {
    const int64_t at = index * bits + b;
    value |= (bytes[at / 8] >> (at % 8) & 1) << b;
  }
  return value;
}

void WriteBits(std::span<const uint8_t> values, int bits, std::span<uint8_t> out) {
  std::fill(out.begin(), out.end(), uint8_t{0});
  int64_t at = 0;
  for (const uint8_t value : values) {
    for (int b = 0; b < bits; ++b, ++at) {
      out[at / 8] = static_cast<uint8_t>(out[at / 8] | (value >> b & 1) << (at % 8));
    }
  }
}

// Where the parts of a row lie.
struct RowPlanes {
  RowPlanes(const Encoding& encoding, int64_t row)
      : layout(encoding.format, encoding.rows, encoding.cols),
        codes(row * layout.code_row_bytes),
        scales(layout.scales_offset + row * layout.groups * 2),
        zeros(layout.zeros_offset + row * layout.zero_row_bytes) {}

  EncodingLayout layout;
  int64_t codes;
  int64_t scales;
  int64_t zeros;
};

}  // namespace

void ReadGrids(const Encoding& encoding, int64_t row, std::span<IntegerGrid> grids) {
  const RowPlanes planes(encoding, row);
  const uint8_t* const bytes = encoding.bytes.data();
  for (size_t g = 0; g < grids.size(); ++g) {
    uint16_t half;
    std::memcpy(&half, bytes + planes.scales + 2 * g, sizeof(half));
    grids[g].scale = HalfToFloat(half);
    grids[g].zero = encoding.format.zero_point
                        ? ReadBits(bytes + planes.zeros, g, encoding.format.bits)
                        : SymmetricZero(encoding.format);
  }
}

void WriteIntegerRow(std::span<const uint8_t> codes,
                     std::span<const IntegerGrid> grids,
                     int64_t row,
                     Encoding* encoding) {
  const Format& format = encoding->format;
  const RowPlanes planes(*encoding, row);
  const std::span<uint8_t> bytes(encoding->bytes);
  WriteBits(codes, format.bits, bytes.subspan(planes.codes, planes.layout.code_row_bytes));
  std::vector<uint8_t> zeros;
  for (size_t g = 0; g < grids.size(); ++g) {
    const uint16_t half = FloatToHalf(grids[g].scale);
    std::memcpy(bytes.data() + planes.scales + 2 * g, &half, sizeof(half));
    zeros.push_back(static_cast<uint8_t>(grids[g].zero));
  }
  if (format.zero_point) {
    WriteBits(zeros, format.bits, bytes.subspan(planes.zeros, planes.layout.zero_row_bytes));
  }
}

void WriteRoundedRow(std::span<const float> weights,
                     std::span<const IntegerGrid> grids,
                     int64_t row,
                     Encoding* encoding) {
  const Format& format = encoding->format;
  const int64_t size = format.GroupSize(encoding->cols);
  std::vector<uint8_t> codes(weights.size());
  for (size_t g = 0; g < grids.size(); ++g) {
    const int64_t begin = static_cast<int64_t>(g) * size;
    const int64_t count = std::min(size, encoding->cols - begin);
    RoundToGrid(
        weights.subspan(begin, count), grids[g], format, std::span(codes).subspan(begin, count));
  }
  WriteIntegerRow(codes, grids, row, encoding);
}

}  // namespace bitbudget
