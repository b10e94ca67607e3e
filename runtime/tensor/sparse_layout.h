#ifndef BITBUDGET_RUNTIME_TENSOR_SPARSE_LAYOUT_H_
#define BITBUDGET_RUNTIME_TENSOR_SPARSE_LAYOUT_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/tensor/encoding.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// Where the mask and the codes of a sparse matrix [rows, cols] lie, in bytes from its start; scales
// and zero points follow as in dense formats. All of it follows from format and shape alone.
//
// Sparsity by share: the mask is a bitmap (a bit per weight, rows padded to bytes) or, where that
// takes fewer bytes, the number of weights in every row and the column of every weight, packed bit
// by bit. A directory then has the number of weights ahead of rows 64, 128, ..., as u64, so that a
// row is found without counting the whole matrix. Codes are packed bit by bit in one go.
//
// 2:4: four bits per run of four inputs, the two positions that are held, the lower one in the low
// bits; rows are padded to bytes. Every row holds equally many codes, and is padded to bytes.
struct SparseLayout {
  // The sizes of the three planes, for any shape below 2^80 weights.
  struct Planes {
    __int128 mask, directory, codes;
  };
  static Planes PlanesOf(const Format& format, int64_t rows, int64_t cols);

  // REQUIRES: a sparse format, and a size below 2^63 bits.
  SparseLayout(const Format& format, int64_t rows, int64_t cols);

  int64_t kept;            // weights that are stored
  bool bitmap;             // sparsity by share: a bitmap, or counts and columns
  int count_bits;          // of a count
  int column_bits;         // of a column
  int64_t mask_row_bytes;  // bitmap and 2:4
  int64_t columns_offset;  // past the counts
  int64_t directory_offset;
  int64_t codes_offset;
  int64_t code_row_bytes;  // 2:4
  int64_t scales_offset;
};

// Weights that a row of a 2:4 matrix holds: two of every four, and at most two of a shorter run.
int64_t KeptOfFour(int64_t cols);

// Weights that sparsity by share leaves out: round(rows * cols * permille / 1000), halves up.
int64_t PrunedByShare(const Sparsity& sparsity, int64_t rows, int64_t cols);

// Reads the rows of a sparse encoding one at a time; the encoding outlives it.
class SparseReader {
 public:
  explicit SparseReader(const Encoding& encoding);

  void Read(int64_t row);

  // The columns that the row holds, increasing.
  std::span<const int64_t> columns() const { return columns_; }
  // The bits of the code (or float) of columns()[i].
  uint32_t Code(int64_t i) const;

 private:
  const Encoding& encoding_;
  const SparseLayout layout_;
  std::vector<int64_t> columns_;
  const uint8_t* codes_ = nullptr;
  int64_t first_code_ = 0;
};

// Fills mask and directory: kept[row * cols + col] is 1 where a weight is stored, else 0. REQUIRES:
// as many stored weights as the format has, in 2:4 formats per run.
void WriteMask(std::span<const uint8_t> kept, Encoding* encoding);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_SPARSE_LAYOUT_H_
