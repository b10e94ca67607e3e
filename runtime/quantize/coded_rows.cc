#include "runtime/quantize/coded_rows.h"

#include <glog/logging.h>

#include <array>
#include <cstring>

#include "runtime/base/float16.h"
#include "runtime/tensor/sparse_layout.h"

namespace bitbudget {
namespace {

// Code `index` of a row of codes of `bits` bits each, packed from the lowest bit of the first byte.
int ReadCode(const uint8_t* row, int64_t index, int bits) {
  int code = 0;
  for (int bit = 0; bit < bits; ++bit) {
    const int64_t at = index * bits + bit;
    code |= (row[at / 8] >> (at % 8) & 1) << bit;
  }
  return code;
}

void WriteCode(int code, int64_t index, int bits, uint8_t* row) {
  for (int bit = 0; bit < bits; ++bit) {
    const int64_t at = index * bits + bit;
    row[at / 8] = static_cast<uint8_t>(row[at / 8] | (code >> bit & 1) << (at % 8));
  }
}

int ZeroOf(const LevelGrid& grid) { return -static_cast<int>(grid.low); }

// Scales and zero points of a row of an integer format.
void WriteGrids(std::span<const LevelGrid> grids, int64_t row, Encoding* encoding) {
  const Format& format = encoding->format;
  const EncodingLayout layout(format, encoding->rows, encoding->cols);
  uint8_t* const bytes = encoding->bytes.data();
  for (int64_t g = 0; g < layout.groups; ++g) {
    const uint16_t scale = FloatToHalf(grids[g].scale);
    std::memcpy(
        bytes + layout.scales_offset + 2 * (row * layout.groups + g), &scale, sizeof(scale));
    if (format.zero_point) {
      WriteCode(ZeroOf(grids[g]),
                g,
                format.bits,
                bytes + layout.zeros_offset + row * layout.zero_row_bytes);
    }
  }
}

LevelGrid MakeGrid(float scale, float minimum, float low, float high) {
  return {scale, minimum, scale == 0.0f ? 0.0f : 1.0f / scale, low, high};
}

}  // namespace

FormatLevels::FormatLevels(const Format& format) : format_(format) {
  CHECK(format.IsInteger() || format.IsBlock()) << format.Name();
  if (!format.IsBlock()) return;
  traits_ = &BlockTraitsOf(format.kind);
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
    const int zero = format.zero_point ? ReadCode(zeros, g, format.bits) : 1 << (format.bits - 1);
    coded.grids[g] = MakeGrid(scales[g],
                              0.0f,
                              static_cast<float>(-zero),
                              static_cast<float>((1 << format.bits) - 1 - zero));
  }
  return coded;
}

void CodedRow::Write(const FormatLevels& levels_of, int64_t row, Encoding* encoding) const {
  const Format& format = encoding->format;
  const EncodingLayout layout(format, encoding->rows, encoding->cols);
  uint8_t* const bytes = encoding->bytes.data();
  uint8_t* const code_row = bytes + row * layout.code_row_bytes;
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
  for (int64_t i = 0; i < encoding->cols; ++i) {
    WriteCode(levels[i] + ZeroOf(grids[i / group]), i, format.bits, code_row);
  }
}

void WriteSparse(std::span<const CodedRow> rows, const Encoding& start, Encoding* encoding) {
  const Format& format = encoding->format;
  const int64_t group = format.GroupSize(encoding->cols);
  const SparseLayout layout(format, encoding->rows, encoding->cols);
  const bool by_row = format.sparsity.kind == SparsityKind::k2of4;
  std::copy_n(start.bytes.begin(), layout.codes_offset, encoding->bytes.begin());
  int64_t index = 0;
  for (int64_t row = 0; row < encoding->rows; ++row) {
    const CodedRow& coded = rows[row];
    WriteGrids(coded.grids, row, encoding);
    uint8_t* const codes =
        encoding->bytes.data() + layout.codes_offset + (by_row ? row * layout.code_row_bytes : 0);
    if (by_row) index = 0;
    for (int64_t i = 0; i < encoding->cols; ++i) {
      if (!coded.Keeps(i)) continue;
      WriteCode(coded.levels[i] + ZeroOf(coded.grids[i / group]), index++, format.bits, codes);
    }
  }
}

void CodedRow::Errors(std::span<const float> weights,
                      int64_t group,
                      std::span<float> errors) const {
  for (size_t i = 0; i < weights.size(); ++i) {
    errors[i] = weights[i] - grids[static_cast<int64_t>(i) / group].Value(levels[i]);
  }
}

}  // namespace bitbudget
