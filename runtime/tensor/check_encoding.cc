#include "runtime/tensor/check_encoding.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/float16.h"
#include "runtime/base/status_macros.h"
#include "runtime/tensor/bit_packing.h"
#include "runtime/tensor/block_codec.h"
#include "runtime/tensor/one_bit.h"
#include "runtime/tensor/sparse_layout.h"

namespace bitbudget {
namespace {

constexpr int64_t kDirectoryRows = 64;  // SparseLayout

bool AllFinite(std::span<const float> values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

absl::Status BadMask(int64_t row) {
  return absl::InvalidArgumentError(
      absl::StrCat("the mask of row ", row, " is not one of its format"));
}

// `count` f16 values from `bytes` on, `per_row` of them in every row.
absl::Status CheckHalves(const uint8_t* bytes, int64_t count, int64_t per_row, const char* what) {
  for (int64_t i = 0; i < count; ++i) {
    uint16_t half;
    std::memcpy(&half, bytes + 2 * i, sizeof(half));
    if ((half & 0x7c00) != 0x7c00) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(what, " of row ", i / per_row, " is ", HalfToFloat(half)));
  }
  return absl::OkStatus();
}

absl::Status CheckRunsOfFour(const Encoding& encoding, const SparseLayout& layout) {
  for (int64_t row = 0; row < encoding.rows; ++row) {
    const uint8_t* runs = encoding.bytes.data() + row * layout.mask_row_bytes;
    for (int64_t begin = 0; begin < encoding.cols; begin += 4) {
      const uint64_t run = LoadBits(runs, begin / 4, 4);
      const uint64_t width = static_cast<uint64_t>(std::min<int64_t>(4, encoding.cols - begin));
      const uint64_t first = run & 3, second = run >> 2;
      if (first >= second || (width > 1 ? second >= width : first > 0)) return BadMask(row);
    }
  }
  return absl::OkStatus();
}

// Weights that a row holds by its bitmap; -1 for one with bits beyond its columns.
int64_t CountBits(const uint8_t* bits, int64_t cols, int64_t row_bytes) {
  int64_t count = 0;
  for (int64_t i = 0; i < row_bytes; ++i) count += std::popcount(bits[i]);
  const int used = static_cast<int>(cols % 8);
  return used != 0 && bits[row_bytes - 1] >> used != 0 ? -1 : count;
}

// Weights that a row holds by its list of columns, which starts at entry `first` of at most
// `layout.kept`; -1 for a list that is not one of increasing columns.
int64_t CountColumns(const Encoding& encoding,
                     const SparseLayout& layout,
                     int64_t row,
                     int64_t first) {
  const uint8_t* const bytes = encoding.bytes.data();
  const int64_t count = static_cast<int64_t>(LoadBits(bytes, row, layout.count_bits));
  if (count > layout.kept - first) return -1;
  int64_t previous = -1;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t column = static_cast<int64_t>(
        LoadBits(bytes + layout.columns_offset, first + i, layout.column_bits));
    if (column <= previous || column >= encoding.cols) return -1;
    previous = column;
  }
  return count;
}

absl::Status CheckShareMask(const Encoding& encoding, const SparseLayout& layout) {
  const uint8_t* const bytes = encoding.bytes.data();
  int64_t ahead = 0;
  for (int64_t row = 0; row < encoding.rows; ++row) {
    if (row > 0 && row % kDirectoryRows == 0) {
      uint64_t listed;
      std::memcpy(&listed,
                  bytes + layout.directory_offset + 8 * (row / kDirectoryRows - 1),
                  sizeof(listed));
      if (listed != static_cast<uint64_t>(ahead)) return BadMask(row);
    }
    const int64_t count =
        layout.bitmap
            ? CountBits(bytes + row * layout.mask_row_bytes, encoding.cols, layout.mask_row_bytes)
            : CountColumns(encoding, layout, row, ahead);
    if (count < 0) return BadMask(row);
    ahead += count;
  }
  return ahead == layout.kept ? absl::OkStatus() : BadMask(encoding.rows - 1);
}

absl::Status CheckMask(const Encoding& encoding) {
  const SparseLayout layout(encoding.format, encoding.rows, encoding.cols);
  return encoding.format.sparsity.kind == SparsityKind::k2of4 ? CheckRunsOfFour(encoding, layout)
                                                              : CheckShareMask(encoding, layout);
}

absl::Status CheckBlocks(const Encoding& encoding) {
  const BlockTraits& traits = BlockTraitsOf(encoding.format);
  const int64_t blocks = encoding.cols / traits.block;
  const uint8_t* bytes = encoding.bytes.data();
  // Weights and not scales: the largest ones of mxfp4 are finite where their products are not.
  std::vector<float> weights(traits.block);
  for (int64_t row = 0; row < encoding.rows; ++row) {
    for (int64_t block = 0; block < blocks; ++block, bytes += traits.bytes) {
      DecodeBlock(traits, bytes, weights.data());
      if (AllFinite(weights)) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("block ", block, " of row ", row, " has weights that are not finite"));
    }
  }
  return absl::OkStatus();
}

absl::Status CheckFloats(const Encoding& encoding) {
  std::vector<float> values(encoding.cols);
  for (int64_t row = 0; row < encoding.rows; ++row) {
    DecodeReferenceRow(encoding, row, values);
    if (AllFinite(values)) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("row ", row, " has weights that are not finite"));
  }
  return absl::OkStatus();
}

absl::Status CheckOneBit(const Encoding& encoding) {
  const OneBitLayout layout(encoding.rows, encoding.cols);
  const uint8_t* const bytes = encoding.bytes.data();
  BB_RETURN_IF_ERROR(
      CheckHalves(bytes + layout.g_offset, encoding.cols, encoding.cols, "a scale of the inputs"));
  return CheckHalves(bytes + layout.h_offset, encoding.rows, 1, "the scale");
}

}  // namespace

absl::Status CheckEncoding(const Encoding& encoding) {
  const Format& format = encoding.format;
  const EncodingLayout layout(format, encoding.rows, encoding.cols);
  const int64_t bytes = static_cast<int64_t>(encoding.bytes.size());
  if (bytes != layout.total_bytes) {
    return absl::InvalidArgumentError(absl::StrCat(bytes,
                                                   " bytes, but ",
                                                   format.Name(),
                                                   " [",
                                                   encoding.rows,
                                                   ", ",
                                                   encoding.cols,
                                                   "] takes ",
                                                   layout.total_bytes));
  }
  if (bytes == 0) return absl::OkStatus();
  if (format.IsSparse()) BB_RETURN_IF_ERROR(CheckMask(encoding));
  if (format.IsInteger()) {
    return CheckHalves(encoding.bytes.data() + layout.scales_offset,
                       encoding.rows * layout.groups,
                       layout.groups,
                       "a scale");
  }
  if (format.IsFloat()) return CheckFloats(encoding);
  if (format.IsBlock()) return CheckBlocks(encoding);
  return CheckOneBit(encoding);
}

}  // namespace bitbudget
