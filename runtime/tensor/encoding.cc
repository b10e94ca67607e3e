#include "runtime/tensor/encoding.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/tensor/bit_packing.h"
#include "runtime/tensor/block_codec.h"
#include "runtime/tensor/one_bit.h"
#include "runtime/tensor/sparse_layout.h"

namespace bitbudget {
namespace {

static_assert(std::endian::native == std::endian::little, "encodings are little-endian");

uint16_t Load16(const uint8_t* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

// The float whose bits a float format stores.
float FloatOf(FormatKind kind, uint32_t bits) {
  if (kind == FormatKind::kF32) return std::bit_cast<float>(bits);
  const uint16_t half = static_cast<uint16_t>(bits);
  return kind == FormatKind::kF16 ? HalfToFloat(half) : BFloat16ToFloat(half);
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
  return {scale, static_cast<int>(LoadBits(zeros, group, format.bits))};
}

}  // namespace

EncodingLayout::EncodingLayout(const Format& format, int64_t rows, int64_t cols)
    : groups(format.GroupsPerRow(cols)), total_bytes(SizeBytes(format, rows, cols)) {
  if (!format.IsInteger()) {
    code_row_bytes = rows == 0 || format.IsSparse() ? 0 : total_bytes / rows;
    if (format.kind == FormatKind::kOneBit)
      code_row_bytes = OneBitLayout(rows, cols).sign_row_bytes;
    scales_offset = zeros_offset = total_bytes;
    zero_row_bytes = 0;
    return;
  }
  // An empty matrix may have any number of columns; only what has bytes has strides.
  const auto row_bytes = [&](int64_t codes) {
    if (total_bytes == 0) return int64_t{0};
    return codes / 8 * format.bits + (codes % 8 * format.bits + 7) / 8;
  };
  code_row_bytes = format.IsSparse() ? 0 : row_bytes(cols);
  zero_row_bytes = format.zero_point ? row_bytes(groups) : 0;
  scales_offset =
      format.IsSparse() ? SparseLayout(format, rows, cols).scales_offset : rows * code_row_bytes;
  zeros_offset = scales_offset + rows * groups * 2;
  CHECK_EQ(zeros_offset + rows * zero_row_bytes, total_bytes);
}

namespace {

// Calls visit(column, code, group) for the codes of a row of an integer format, in order.
template <typename Visit>
void ForEachCode(const Encoding& encoding,
                 const EncodingLayout& layout,
                 int64_t row,
                 const Visit& visit) {
  const int64_t group_size = encoding.format.GroupSize(encoding.cols);
  if (encoding.format.IsSparse()) {
    SparseReader reader(encoding);
    reader.Read(row);
    const std::span<const int64_t> columns = reader.columns();
    for (size_t i = 0; i < columns.size(); ++i) {
      visit(columns[i], static_cast<int>(reader.Code(i)), columns[i] / group_size);
    }
    return;
  }
  const uint8_t* codes = encoding.bytes.data() + row * layout.code_row_bytes;
  for (int64_t group = 0; group < layout.groups; ++group) {
    const int64_t end = std::min((group + 1) * group_size, encoding.cols);
    for (int64_t i = group * group_size; i < end; ++i) {
      visit(i, static_cast<int>(LoadBits(codes, i, encoding.format.bits)), group);
    }
  }
}

void DecodeIntegerRow(const Encoding& encoding,
                      const EncodingLayout& layout,
                      int64_t row,
                      std::span<float> out) {
  std::vector<GroupHeader> headers(layout.groups);
  for (int64_t group = 0; group < layout.groups; ++group) {
    headers[group] = ReadGroup(encoding, layout, row, group);
  }
  if (encoding.format.IsSparse()) std::fill(out.begin(), out.end(), 0.0f);
  ForEachCode(encoding, layout, row, [&](int64_t i, int code, int64_t group) {
    out[i] = static_cast<float>(code - headers[group].zero) * headers[group].scale;
  });
}

void DecodeFloatRow(const Encoding& encoding, int64_t row, std::span<float> out) {
  const FormatKind kind = encoding.format.kind;
  if (encoding.format.IsSparse()) {
    SparseReader reader(encoding);
    reader.Read(row);
    const std::span<const int64_t> columns = reader.columns();
    std::fill(out.begin(), out.end(), 0.0f);
    for (size_t i = 0; i < columns.size(); ++i) out[columns[i]] = FloatOf(kind, reader.Code(i));
    return;
  }
  const uint8_t* values = encoding.bytes.data() + row * encoding.cols * (encoding.format.bits / 8);
  if (kind == FormatKind::kF32) {
    std::memcpy(out.data(), values, out.size_bytes());
    return;
  }
  for (size_t i = 0; i < out.size(); ++i) out[i] = FloatOf(kind, Load16(values + 2 * i));
}

}  // namespace

void DecodeReferenceRow(const Encoding& encoding, int64_t row, std::span<float> out) {
  const Format& format = encoding.format;
  const EncodingLayout layout(format, encoding.rows, encoding.cols);
  CheckEncoding(encoding, layout, row);
  CHECK_EQ(static_cast<int64_t>(out.size()), encoding.cols);
  if (encoding.cols == 0) return;
  if (format.IsFloat()) return DecodeFloatRow(encoding, row, out);
  switch (format.kind) {
    case FormatKind::kInteger:
      return DecodeIntegerRow(encoding, layout, row, out);
    case FormatKind::kOneBit:
      return DecodeOneBitRow(encoding, row, out);
    case FormatKind::kRemoved:
      std::fill(out.begin(), out.end(), 0.0f);
      return;
    default:
      return DecodeBlocks(
          BlockTraitsOf(format), encoding.bytes.data() + row * layout.code_row_bytes, out);
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
  CHECK(format.HasLevels()) << format.Name();
  const EncodingLayout layout(format, encoding.rows, encoding.cols);
  CheckEncoding(encoding, layout, row);
  CHECK_EQ(static_cast<int64_t>(levels.size()), encoding.cols);
  CHECK_EQ(static_cast<int64_t>(scales.size()), layout.groups);
  CHECK_EQ(static_cast<int64_t>(minimums.size()), format.HasMinimums() ? layout.groups : 0);
  if (format.IsBlock()) {
    const uint8_t* codes = encoding.bytes.data() + row * layout.code_row_bytes;
    UnpackBlocks(BlockTraitsOf(format), codes, levels, scales, minimums);
    return;
  }
  std::vector<int> zeros(layout.groups);
  for (int64_t group = 0; group < layout.groups; ++group) {
    const GroupHeader header = ReadGroup(encoding, layout, row, group);
    scales[group] = header.scale;
    zeros[group] = header.zero;
  }
  if (format.IsSparse()) std::fill(levels.begin(), levels.end(), int16_t{0});
  ForEachCode(encoding, layout, row, [&](int64_t i, int code, int64_t group) {
    levels[i] = static_cast<int16_t>(code - zeros[group]);
  });
}

}  // namespace bitbudget
