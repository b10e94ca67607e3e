#ifndef BITBUDGET_RUNTIME_QUANTIZE_CODED_ROWS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_CODED_ROWS_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "runtime/quantize/integer_grid.h"
#include "runtime/quantize/lattice_points.h"
#include "runtime/quantize/level_table.h"
#include "runtime/tensor/block_codec.h"
#include "runtime/tensor/encoding.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// What the levels of one group of inputs stand for: weight = level * scale - minimum, with levels
// from `low` to `high` (in formats with a table of levels: those of the table).
struct LevelGrid {
  float scale = 0.0f;
  float minimum = 0.0f;
  float inverse = 0.0f;  // 1 / scale, 0 for a scale of 0
  float low = 0.0f;
  float high = 0.0f;

  float Value(int level) const { return static_cast<float>(level) * scale - minimum; }
  void SetScale(float value) {
    scale = value;
    inverse = value == 0.0f ? 0.0f : 1.0f / value;
  }
  // Integer formats: the code of level 0.
  int zero() const { return -static_cast<int>(low); }
};

// The levels of an integer or block format.
class FormatLevels {
 public:
  explicit FormatLevels(const Format& format);

  const Format& format() const { return format_; }
  // Null for integer formats.
  const BlockTraits* traits() const { return traits_; }

  // Of codebook types, whose levels are chosen by the unit (LatticePoints); null for others.
  const LatticePoints* points() const { return points_; }

  // The level of the nearest value on the grid. Where the scale is 0, the one nearest to 0.
  // REQUIRES: no codebook type.
  int Nearest(const LevelGrid& grid, float weight) const {
    const float x = (weight + grid.minimum) * grid.inverse;
    if (table_.has_value()) return traits_->Level(table_->Code(x));
    return static_cast<int>(RoundEven(std::min(std::max(x, grid.low), grid.high)));
  }

 private:
  Format format_;
  const BlockTraits* traits_ = nullptr;
  const LatticePoints* points_ = nullptr;
  std::optional<LevelTable> table_;
};

// One row of a matrix in an integer or block format, taken apart for encoders that change levels
// and grids one by one.
struct CodedRow {
  std::vector<int16_t> levels;      // by input
  std::vector<LevelGrid> grids;     // by group of Format::GroupSize inputs
  std::vector<BlockFields> blocks;  // block formats: what the grids follow from; codes are not kept
  std::vector<uint8_t> kept;        // sparse formats: 1 for the inputs whose weights are stored

  // Row `row` of an encoding.
  static CodedRow Read(const Encoding& encoding, const FormatLevels& levels, int64_t row);
  // The nearest levels of the weights on these grids, one per group (RoundToGrid). REQUIRES: a
  // dense integer format, scales that are f16 values.
  static CodedRow Round(std::span<const float> weights,
                        std::span<const IntegerGrid> grids,
                        const FormatLevels& levels);

  // Replaces row `row` of an encoding. REQUIRES: a dense format; scales are f16 values.
  void Write(const FormatLevels& levels, int64_t row, Encoding* encoding) const;

  // Whether the weight of an input is stored; if not it has level 0, and keeps it.
  bool Keeps(int64_t input) const { return kept.empty() || kept[input] != 0; }

  // The grids of a row in an integer format.
  std::vector<IntegerGrid> IntegerGrids() const;

  // Derives the grids of a block from its fields, after a change.
  void SetBlockGrids(const FormatLevels& levels, int64_t block);

  // weights - values, of every input. REQUIRES: `group` is the format's GroupSize.
  void Errors(std::span<const float> weights, int64_t group, std::span<float> errors) const;
};

// Writes all rows of a matrix in a sparse format, with the mask of `start`. REQUIRES: bytes of
// `encoding` that are all 0.
void WriteSparseRows(std::span<const CodedRow> rows, const Encoding& start, Encoding* encoding);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_CODED_ROWS_H_
