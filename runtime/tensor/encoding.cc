#include "runtime/tensor/encoding.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "runtime/base/float16.h"
#include "runtime/tensor/block_codec.h"

namespace bitbudget {
namespace {

static_assert(std::endian::native == std::endian::little, "encodings are little-endian");

uint16_t Load16(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

// Code `i` of a plane row: bits i * bits and on, the low ones of a byte first. Only the bytes that
// hold it are read.
int LoadCode(const uint8_t* row, int64_t i, int bits) {
  if (bits == 8) return row[i];
  const int64_t bit = i * bits;
  const int shift = static_cast<int>(bit % 8);
  int value = row[bit / 8] >> shift;
  if (shift + bits > 8) value |= row[bit / 8 + 1] << (8 - shift);
  return value & ((1 << bits) - 1);
}

// The levels, scales and minimums of a row of blocks.
void UnpackBlocks(const BlockTraits& traits,
                  const uint8_t* bytes,
                  std::span<int16_t> levels,
                  std::span<float> scales,
                  std::span<float> minimums) {
  std::array<int16_t, 256> level_of;
  for (int code = 0; code < traits.codes; ++code) {
    level_of[code] = static_cast<int16_t>(traits.Level(code));
  }
  BlockFields fields;
  size_t group = 0;
  for (size_t begin = 0; begin < levels.size(); begin += traits.block, bytes += traits.bytes) {
    UnpackBlock(traits, bytes, &fields);
    for (int i = 0; i < traits.block; ++i) levels[begin + i] = level_of[fields.codes[i]];
    for (int g = 0; g < traits.groups(); ++g, ++group) {
      scales[group] = fields.d * static_cast<float>(fields.scales[g]);
      if (traits.minimum) minimums[group] = fields.dmin * static_cast<float>(fields.minimums[g]);
    }
  }
}

void CheckEncoding(const Encoding& encoding, const EncodingLayout& layout, int64_t row) {
  CHECK_EQ(static_cast<int64_t>(encoding.bytes.size()), layout.total_bytes);
  CHECK(row >= 0 && row < encoding.rows) << "row " << row << " of " << encoding.rows;
}

// The parts of group g of a row; `zero` is what every code is relative to.
struct GroupHeader {
  float scale;
  int zero;
};

GroupHeader ReadGroup(const Encoding& encoding,
                      const EncodingLayout& layout,
                      int64_t row,
                      int64_t group) {
  const Format& format = encoding.format;
  const uint8_t* bytes = encoding.bytes.data();
  const float scale =
      HalfToFloat(Load16(bytes + layout.scales_offset + 2 * (row * layout.groups + group)));
  if (!format.zero_point) return {scale, 1 << (format.bits - 1)};
  const uint8_t* zeros = bytes + layout.zeros_offset + row * layout.zero_row_bytes;
  return {scale, LoadCode(zeros, group, format.bits)};
}

}  // namespace

EncodingLayout::EncodingLayout(const Format& format, int64_t rows, int64_t cols)
    : groups(format.GroupsPerRow(cols)), total_bytes(SizeBytes(format, rows, cols)) {
  if (!format.IsInteger()) {
    code_row_bytes = rows == 0 ? 0 : total_bytes / rows;
    scales_offset = zeros_offset = total_bytes;
    zero_row_bytes = 0;
    return;
  }
  // An empty matrix may have any number of columns; only what has bytes has strides.
  const auto row_bytes = [&](int64_t codes) {
    if (total_bytes == 0) return int64_t{0};
    return codes / 8 * format.bits + (codes % 8 * format.bits + 7) / 8;
  };
  code_row_bytes = row_bytes(cols);
  zero_row_bytes = format.zero_point ? row_bytes(groups) : 0;
  scales_offset = rows * code_row_bytes;
  zeros_offset = scales_offset + rows * groups * 2;
  CHECK_EQ(zeros_offset + rows * zero_row_bytes, total_bytes);
}

void DecodeReferenceRow(const Encoding& encoding, int64_t row, std::span<float> out) {
  const Format& format = encoding.format;
  const EncodingLayout layout(format, encoding.rows, encoding.cols);
  CheckEncoding(encoding, layout, row);
  CHECK_EQ(static_cast<int64_t>(out.size()), encoding.cols);
  if (encoding.cols == 0) return;
  const uint8_t* codes = encoding.bytes.data() + row * layout.code_row_bytes;
  switch (format.kind) {
    case FormatKind::kF32:
      std::memcpy(out.data(), codes, out.size_bytes());
      return;
    case FormatKind::kF16:
      for (int64_t i = 0; i < encoding.cols; ++i) out[i] = HalfToFloat(Load16(codes + 2 * i));
      return;
    case FormatKind::kBF16:
      for (int64_t i = 0; i < encoding.cols; ++i) out[i] = BFloat16ToFloat(Load16(codes + 2 * i));
      return;
    case FormatKind::kInteger:
      break;
    default:
      return DecodeBlocks(BlockTraitsOf(format.kind), codes, out);
  }
  const int64_t group_size = format.GroupSize(encoding.cols);
  for (int64_t group = 0; group < layout.groups; ++group) {
    const GroupHeader header = ReadGroup(encoding, layout, row, group);
    const int64_t end = std::min((group + 1) * group_size, encoding.cols);
    for (int64_t i = group * group_size; i < end; ++i) {
      out[i] = static_cast<float>(LoadCode(codes, i, format.bits) - header.zero) * header.scale;
    }
  }
}

void DecodeReference(const Encoding& encoding, std::span<float> out) {
  CHECK_EQ(static_cast<int64_t>(out.size()), encoding.rows * encoding.cols);
  for (int64_t row = 0; row < encoding.rows; ++row) {
    DecodeReferenceRow(encoding, row, out.subspan(row * encoding.cols, encoding.cols));
  }
}

void UnpackIntegerRow(const Encoding& encoding,
                      int64_t row,
                      std::span<int16_t> levels,
                      std::span<float> scales,
                      std::span<float> minimums) {
  const Format& format = encoding.format;
  CHECK(!format.IsFloat()) << format.Name();
  const EncodingLayout layout(format, encoding.rows, encoding.cols);
  CheckEncoding(encoding, layout, row);
  CHECK_EQ(static_cast<int64_t>(levels.size()), encoding.cols);
  CHECK_EQ(static_cast<int64_t>(scales.size()), layout.groups);
  CHECK_EQ(static_cast<int64_t>(minimums.size()), format.HasMinimums() ? layout.groups : 0);
  const uint8_t* codes = encoding.bytes.data() + row * layout.code_row_bytes;
  if (format.IsBlock()) {
    UnpackBlocks(BlockTraitsOf(format.kind), codes, levels, scales, minimums);
    return;
  }
  const int64_t group_size = format.GroupSize(encoding.cols);
  for (int64_t group = 0; group < layout.groups; ++group) {
    const GroupHeader header = ReadGroup(encoding, layout, row, group);
    scales[group] = header.scale;
    const int64_t end = std::min((group + 1) * group_size, encoding.cols);
    for (int64_t i = group * group_size; i < end; ++i) {
      levels[i] = static_cast<int16_t>(LoadCode(codes, i, format.bits) - header.zero);
    }
  }
}

}  // namespace bitbudget
