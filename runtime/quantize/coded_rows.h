#ifndef BITBUDGET_RUNTIME_QUANTIZE_CODED_ROWS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_CODED_ROWS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/quantize/grid_fit.h"
#include "runtime/tensor/block_codec.h"
#include "runtime/tensor/encoding.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// What the levels of one group of inputs stand for: weight = level * scale - minimum, with levels
// from `low` to `high` (formats with a table of levels: those of the table).
struct LevelGrid {
  float scale = 0.0f;
  float minimum = 0.0f;
  float inverse = 0.0f;  // 1 / scale, 0 for a scale of 0
  float low = 0.0f;
  float high = 0.0f;

  float Value(int level) const { return static_cast<float>(level) * scale - minimum; }
};

// The levels of an integer or block format.
class FormatLevels {
 public:
  explicit FormatLevels(const Format& format);

  const Format& format() const { return format_; }
  // Null for integer formats.
  const BlockTraits* traits() const { return traits_; }

  // The level of the nearest value that the grid has. Where the scale is 0, the one nearest to 0.
  int Nearest(const LevelGrid& grid, float weight) const {
    const float x = (weight + grid.minimum) * grid.inverse;
    if (table_.has_value()) return traits_->Level(table_->Code(x));
    // Float to the nearest integer by the rounding of addition: |x| stays far below 2^22.
    constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23
    const float clamped = std::min(std::max(x, grid.low), grid.high);
    return static_cast<int>((clamped + kMagic) - kMagic);
  }

 private:
  Format format_;
  const BlockTraits* traits_ = nullptr;
  std::optional<LevelTable> table_;
};

// One row of an integer or block format, taken apart for encoders that change levels and grids one
// by one.
struct CodedRow {
  std::vector<int16_t> levels;      // by input
  std::vector<LevelGrid> grids;     // by group of Format::GroupSize inputs
  std::vector<BlockFields> blocks;  // block formats: what the grids follow from; codes are not kept
  std::vector<uint8_t> kept;        // sparse formats: 1 for the inputs whose weights are stored

  // Whether the weight of an input is stored; if not it has level 0, and keeps it.
  bool Keeps(int64_t input) const { return kept.empty() || kept[input] != 0; }

  // What row `row` of an encoding holds.
  static CodedRow Read(const Encoding& encoding, const FormatLevels& levels, int64_t row);
  // The inverse, into an encoding whose bytes of that row are 0. REQUIRES: not a sparse format.
  void Write(const FormatLevels& levels, int64_t row, Encoding* encoding) const;

  // The grids of the blocks from their fields, after a change.
  void SetBlockGrids(const FormatLevels& levels, int64_t block);

  // weights - values, of every input.
  void Errors(std::span<const float> weights, int64_t group, std::span<float> errors) const;
};

// The rows of a matrix in a sparse format, with the mask of `start`, into an encoding of zeros.
void WriteSparse(std::span<const CodedRow> rows, const Encoding& start, Encoding* encoding);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_CODED_ROWS_H_
