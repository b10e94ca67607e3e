#include "runtime/tensor/sparse_layout.h"

#include <glog/logging.h>

#include <bit>
#include <cstring>

#include "runtime/tensor/bit_packing.h"

namespace bitbudget {
namespace {

using Wide = __int128;

constexpr int64_t kDirectoryRows = 64;
// Columns are written in at most 32 bits; rows beyond that always have a bitmap.
constexpr int64_t kMostColumns = int64_t{1} << 32;

Wide Pruned(const Sparsity& sparsity, int64_t rows, int64_t cols) {
  return (Wide{rows} * cols * sparsity.permille + 500) / 1000;
}

int CountBits(int64_t cols) { return std::bit_width(static_cast<uint64_t>(cols)); }
int ColumnBits(int64_t cols) {
  return cols == 0 ? 0 : std::bit_width(static_cast<uint64_t>(cols - 1));
}

Wide BitmapBytes(int64_t rows, int64_t cols) { return rows * BytesForBits(cols); }
Wide ColumnsBytes(int64_t rows, int64_t cols, Wide kept) {
  return BytesForBits(Wide{rows} * CountBits(cols)) + BytesForBits(kept * ColumnBits(cols));
}
bool HasBitmap(int64_t rows, int64_t cols, Wide kept) {
  return cols > kMostColumns || BitmapBytes(rows, cols) <= ColumnsBytes(rows, cols, kept);
}

int64_t CountBitmap(const uint8_t* bytes, int64_t count) {
  int64_t ones = 0;
  for (; count >= 8; count -= 8, bytes += 8) {
    uint64_t word;
    std::memcpy(&word, bytes, sizeof(word));
    ones += std::popcount(word);
  }
  for (; count > 0; --count) ones += std::popcount(*bytes++);
  return ones;
}

}  // namespace

int64_t KeptOfFour(int64_t cols) { return cols / 4 * 2 + (cols % 4 < 2 ? cols % 4 : 2); }

int64_t PrunedByShare(const Sparsity& sparsity, int64_t rows, int64_t cols) {
  return static_cast<int64_t>(Pruned(sparsity, rows, cols));
}

SparseLayout::Planes SparseLayout::PlanesOf(const Format& format, int64_t rows, int64_t cols) {
  if (rows == 0 || cols == 0) return {0, 0, 0};
  if (format.sparsity.kind == SparsityKind::k2of4) {
    const int64_t runs = cols / 4 + (cols % 4 != 0);
    return {rows * BytesForBits(Wide{runs} * 4),
            0,
            rows * BytesForBits(Wide{KeptOfFour(cols)} * format.bits)};
  }
  const Wide kept = Wide{rows} * cols - Pruned(format.sparsity, rows, cols);
  return {HasBitmap(rows, cols, kept) ? BitmapBytes(rows, cols) : ColumnsBytes(rows, cols, kept),
          Wide{(rows - 1) / kDirectoryRows} * 8,
          BytesForBits(kept * format.bits)};
}

SparseLayout::SparseLayout(const Format& format, int64_t rows, int64_t cols) {
  CHECK(format.IsSparse()) << format.Name();
  const Planes planes = PlanesOf(format, rows, cols);
  const bool two_of_four = format.sparsity.kind == SparsityKind::k2of4;
  kept = two_of_four ? rows * KeptOfFour(cols)
                     : rows * cols - PrunedByShare(format.sparsity, rows, cols);
  bitmap = !two_of_four && HasBitmap(rows, cols, kept);
  count_bits = CountBits(cols);
  column_bits = ColumnBits(cols);
  mask_row_bytes =
      bitmap || two_of_four ? static_cast<int64_t>(rows == 0 ? 0 : planes.mask / rows) : 0;
  columns_offset = static_cast<int64_t>(BytesForBits(Wide{rows} * count_bits));
  directory_offset = static_cast<int64_t>(planes.mask);
  codes_offset = directory_offset + static_cast<int64_t>(planes.directory);
  code_row_bytes = two_of_four && rows > 0 ? static_cast<int64_t>(planes.codes / rows) : 0;
  scales_offset = codes_offset + static_cast<int64_t>(planes.codes);
}

SparseReader::SparseReader(const Encoding& encoding)
    : encoding_(encoding), layout_(encoding.format, encoding.rows, encoding.cols) {}

void SparseReader::Read(int64_t row) {
  const uint8_t* const bytes = encoding_.bytes.data();
  const int64_t cols = encoding_.cols;
  columns_.clear();
  if (cols == 0) return;
  if (encoding_.format.sparsity.kind == SparsityKind::k2of4) {
    const uint8_t* runs = bytes + row * layout_.mask_row_bytes;
    for (int64_t begin = 0; begin < cols; begin += 4) {
      const uint64_t run = LoadBits(runs, begin / 4, 4);
      columns_.push_back(begin + static_cast<int64_t>(run & 3));
      if (begin + 1 < cols) columns_.push_back(begin + static_cast<int64_t>(run >> 2));
    }
    codes_ = bytes + layout_.codes_offset + row * layout_.code_row_bytes;
    first_code_ = 0;
    return;
  }
  codes_ = bytes + layout_.codes_offset;
  const int64_t near = row / kDirectoryRows;
  uint64_t ahead = 0;
  if (near > 0) {
    std::memcpy(&ahead, bytes + layout_.directory_offset + 8 * (near - 1), sizeof(ahead));
  }
  first_code_ = static_cast<int64_t>(ahead);
  const int64_t from = near * kDirectoryRows;
  if (layout_.bitmap) {
    const uint8_t* const bits = bytes + row * layout_.mask_row_bytes;
    first_code_ +=
        CountBitmap(bytes + from * layout_.mask_row_bytes, (row - from) * layout_.mask_row_bytes);
    for (int64_t i = 0; i < cols; ++i) {
      if (LoadBits(bits, i, 1) != 0) columns_.push_back(i);
    }
    return;
  }
  for (int64_t i = from; i < row; ++i) {
    first_code_ += static_cast<int64_t>(LoadBits(bytes, i, layout_.count_bits));
  }
  const int64_t count = static_cast<int64_t>(LoadBits(bytes, row, layout_.count_bits));
  for (int64_t i = 0; i < count; ++i) {
    columns_.push_back(static_cast<int64_t>(
        LoadBits(bytes + layout_.columns_offset, first_code_ + i, layout_.column_bits)));
  }
}

uint32_t SparseReader::Code(int64_t i) const {
  return static_cast<uint32_t>(LoadBits(codes_, first_code_ + i, encoding_.format.bits));
}

void WriteMask(std::span<const uint8_t> kept, Encoding* encoding) {
  const int64_t rows = encoding->rows;
  const int64_t cols = encoding->cols;
  CHECK_EQ(static_cast<int64_t>(kept.size()), rows * cols);
  const SparseLayout layout(encoding->format, rows, cols);
  uint8_t* const bytes = encoding->bytes.data();
  const bool two_of_four = encoding->format.sparsity.kind == SparsityKind::k2of4;
  std::vector<uint64_t> counts;
  std::vector<uint64_t> columns;
  uint64_t ahead = 0;
  for (int64_t row = 0; row < rows; ++row) {
    const std::span<const uint8_t> mask = kept.subspan(row * cols, cols);
    if (two_of_four) {
      std::vector<uint8_t> runs;
      for (int64_t begin = 0; begin < cols; begin += 4) {
        int held[2] = {0, 1};  // what a run of one input has in place of a second
        int count = 0;
        for (int64_t i = begin; i < cols && i < begin + 4; ++i) {
          if (mask[i] == 0) continue;
          CHECK_LT(count, 2) << "row " << row << " has three weights in one run";
          held[count++] = static_cast<int>(i - begin);
        }
        CHECK_EQ(count, KeptOfFour(std::min<int64_t>(4, cols - begin))) << "row " << row;
        runs.push_back(static_cast<uint8_t>(held[0] | held[1] << 2));
      }
      PackBits<uint8_t>(runs, 4, bytes + row * layout.mask_row_bytes);
      continue;
    }
    if (row > 0 && row % kDirectoryRows == 0) {
      std::memcpy(bytes + layout.directory_offset + 8 * (row / kDirectoryRows - 1), &ahead, 8);
    }
    const uint64_t before = ahead;
    for (const uint8_t one : mask) ahead += one;
    if (layout.bitmap) {
      PackBits<uint8_t>(mask, 1, bytes + row * layout.mask_row_bytes);
      continue;
    }
    counts.push_back(ahead - before);
    for (int64_t i = 0; i < cols; ++i) {
      if (mask[i] != 0) columns.push_back(static_cast<uint64_t>(i));
    }
  }
  if (two_of_four) return;
  CHECK_EQ(static_cast<int64_t>(ahead), layout.kept) << encoding->format.Name();
  if (layout.bitmap) return;
  PackBits<uint64_t>(counts, layout.count_bits, bytes);
  PackBits<uint64_t>(columns, layout.column_bits, bytes + layout.columns_offset);
}

}  // namespace bitbudget
