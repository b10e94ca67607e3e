#include "runtime/quantize/coded_rows.h"

#include <glog/logging.h>

#include <array>
#include <cstring>

#include "runtime/base/float16.h"
#include "runtime/quantize/sparse_codes.h"
#include "runtime/tensor/bit_packing.h"
#include "runtime/tensor/sparse_layout.h"

namespace bitbudget {
namespace {

LevelGrid MakeGrid(float scale, float minimum, float low, float high) {
  LevelGrid grid{.minimum = minimum, .low = low, .high = high};
  grid.SetScale(scale);
  return grid;
}

LevelGrid MakeGrid(const IntegerGrid& grid, const Format& format) {
  return MakeGrid(grid.scale,
                  0.0f,
                  static_cast<float>(-grid.zero),
                  static_cast<float>((1 << format.bits) - 1 - grid.zero));
}

// Writes scales and zero points of a row of an integer format.
void WriteGrids(std::span<const LevelGrid> grids, int64_t row, Encoding* encoding) {
  const Format& format = encoding->format;
  const EncodingLayout layout(format, encoding->rows, encoding->cols);
  uint8_t* const scales = encoding->bytes.data() + layout.scales_offset + 2 * row * layout.groups;
  std::vector<uint8_t> zeros;
  for (int64_t g = 0; g < layout.groups; ++g) {
    const uint16_t scale = FloatToHalf(grids[g].scale);
    std::memcpy(scales + 2 * g, &scale, sizeof(scale));
    zeros.push_back(static_cast<uint8_t>(grids[g].zero()));
  }
  if (!format.zero_point) return;
  PackBits<uint8_t>(zeros,
                    format.bits,
                    encoding->bytes.data() + layout.zeros_offset + row * layout.zero_row_bytes);
}

}  // namespace

FormatLevels::FormatLevels(const Format& format) : format_(format) {
  CHECK(format.IsInteger() || format.IsBlock()) << format.Name();
  if (!format.IsBlock()) return;
  traits_ = &BlockTraitsOf(format);
  if (traits_->lattice != nullptr) points_ = &LatticePoints::Of(*traits_);
  if (traits_->levels == nullptr && traits_->step == 1) return;
  std::vector<int8_t> levels;
  for (int code = 0; code < traits_->codes; ++code) {
    levels.push_back(static_cast<int8_t>(traits_->Level(code)));
  }
  table_.emplace(levels);
}

void CodedRow::SetBlockGrids(const FormatLevels& levels, int64_t block) {
  const BlockTraits& traits = *levels.traits();
  const BlockFields& fields = blocks[block];
  for (int g = 0; g < traits.groups(); ++g) {
    grids[block * traits.groups() + g] =
        MakeGrid(fields.d * static_cast<float>(fields.scales[g]),
                 traits.minimum ? fields.dmin * static_cast<float>(fields.minimums[g]) : 0.0f,
                 static_cast<float>(traits.Level(0)),
                 static_cast<float>(traits.Level(traits.codes - 1)));
  }
}

CodedRow CodedRow::Read(const Encoding& encoding, const FormatLevels& levels, int64_t row) {
  const Format& format = encoding.format;
  const EncodingLayout layout(format, encoding.rows, encoding.cols);
  CodedRow coded;
  coded.levels.resize(encoding.cols);
  coded.grids.resize(layout.groups);
  if (format.IsBlock()) {
    const BlockTraits& traits = *levels.traits();
    coded.blocks.resize(encoding.cols / traits.block);
    const uint8_t* bytes = encoding.bytes.data() + row * layout.code_row_bytes;
    for (size_t b = 0; b < coded.blocks.size(); ++b, bytes += traits.bytes) {
      BlockFields& fields = coded.blocks[b];
      UnpackBlock(traits, bytes, &fields);
      coded.SetBlockGrids(levels, static_cast<int64_t>(b));
      for (int i = 0; i < traits.block; ++i) {
        coded.levels[b * traits.block + i] = static_cast<int16_t>(traits.Level(fields.codes[i]));
      }
    }
    return coded;
  }
  if (format.IsSparse()) {
    SparseReader reader(encoding);
    reader.Read(row);
    coded.kept.assign(encoding.cols, 0);
    for (const int64_t column : reader.columns()) coded.kept[column] = 1;
  }
  std::vector<float> scales(layout.groups);
  UnpackIntegerRow(encoding, row, coded.levels, scales);
  const uint8_t* const zeros =
      encoding.bytes.data() + layout.zeros_offset + row * layout.zero_row_bytes;
  for (int64_t g = 0; g < layout.groups; ++g) {
    const int zero = format.zero_point ? static_cast<int>(LoadBits(zeros, g, format.bits))
                                       : SymmetricZero(format);
    coded.grids[g] = MakeGrid({scales[g], zero}, format);
  }
  return coded;
}

CodedRow CodedRow::Round(std::span<const float> weights,
                         std::span<const IntegerGrid> grids,
                         const FormatLevels& levels) {
  const Format& format = levels.format();
  CHECK(format.IsInteger() && !format.IsSparse()) << format.Name();
  const int64_t cols = static_cast<int64_t>(weights.size());
  const int64_t group = format.GroupSize(cols);
  CodedRow coded;
  std::vector<uint8_t> codes(cols);
  for (size_t g = 0; g < grids.size(); ++g) {
    const int64_t begin = static_cast<int64_t>(g) * group;
    const int64_t count = std::min(group, cols - begin);
    RoundToGrid(
        weights.subspan(begin, count), grids[g], format, std::span(codes).subspan(begin, count));
    coded.grids.push_back(MakeGrid(grids[g], format));
  }
  for (int64_t i = 0; i < cols; ++i) {
    coded.levels.push_back(static_cast<int16_t>(codes[i] - grids[i / group].zero));
  }
  return coded;
}

void CodedRow::Write(const FormatLevels& levels_of, int64_t row, Encoding* encoding) const {
  const Format& format = encoding->format;
  CHECK(!format.IsSparse()) << format.Name();
  const EncodingLayout layout(format, encoding->rows, encoding->cols);
  uint8_t* const code_row = encoding->bytes.data() + row * layout.code_row_bytes;
  if (format.IsBlock()) {
    const BlockTraits& traits = *levels_of.traits();
    std::array<uint8_t, 256> code_of{};  // by level + 128
    for (int code = traits.codes - 1; code >= 0; --code) {
      code_of[(traits.Level(code) + 128) & 255] = static_cast<uint8_t>(code);
    }
    for (size_t b = 0; b < blocks.size(); ++b) {
      BlockFields fields = blocks[b];
      for (int i = 0; i < traits.block; ++i) {
        fields.codes[i] = code_of[(levels[b * traits.block + i] + 128) & 255];
      }
      PackBlock(traits, fields, code_row + b * traits.bytes);
    }
    return;
  }
  WriteGrids(grids, row, encoding);
  const int64_t group = format.GroupSize(encoding->cols);
  std::vector<uint8_t> codes(levels.size());
  for (int64_t i = 0; i < encoding->cols; ++i) {
    codes[i] = static_cast<uint8_t>(levels[i] + grids[i / group].zero());
  }
  PackBits<uint8_t>(codes, format.bits, code_row);
}

std::vector<IntegerGrid> CodedRow::IntegerGrids() const {
  std::vector<IntegerGrid> out;
  for (const LevelGrid& grid : grids) out.push_back({grid.scale, grid.zero()});
  return out;
}

void WriteSparseRows(std::span<const CodedRow> rows, const Encoding& start, Encoding* encoding) {
  const Format& format = encoding->format;
  const int64_t group = format.GroupSize(encoding->cols);
  const SparseLayout layout(format, encoding->rows, encoding->cols);
  std::copy_n(start.bytes.begin(), layout.codes_offset, encoding->bytes.begin());
  std::vector<uint32_t> codes;
  std::vector<int64_t> first_codes = {0};
  for (int64_t row = 0; row < encoding->rows; ++row) {
    const CodedRow& coded = rows[row];
    WriteGrids(coded.grids, row, encoding);
    for (int64_t i = 0; i < encoding->cols; ++i) {
      if (!coded.Keeps(i)) continue;
      codes.push_back(static_cast<uint32_t>(coded.levels[i] + coded.grids[i / group].zero()));
    }
    first_codes.push_back(static_cast<int64_t>(codes.size()));
  }
  WriteSparseCodes(codes, first_codes, encoding);
}

void CodedRow::Errors(std::span<const float> weights,
                      int64_t group,
                      std::span<float> errors) const {
  for (size_t i = 0; i < weights.size(); ++i) {
    errors[i] = weights[i] - grids[static_cast<int64_t>(i) / group].Value(levels[i]);
  }
}

}  // namespace bitbudget
