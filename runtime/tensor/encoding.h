#ifndef BITBUDGET_RUNTIME_TENSOR_ENCODING_H_
#define BITBUDGET_RUNTIME_TENSOR_ENCODING_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/tensor/format.h"

namespace bitbudget {

// Where the planes of an encoding lie, in bytes. Integer formats have three planes: codes (of every
// row bit by bit in the order of inputs, low bits of a byte first, padded to whole bytes), f16
// scales [rows, groups], and with zero_point the zero points (packed like codes, rows padded to
// whole bytes). Sparse formats have their mask and codes (SparseLayout) in the place of codes.
// Float, one-bit and block formats have one plane. Planes follow each other without padding, so
// scales may be unaligned; all values are little-endian; padding bits are 0.
struct EncodingLayout {
  EncodingLayout(const Format& format, int64_t rows, int64_t cols);

  int64_t groups;          // scales per row
  int64_t code_row_bytes;  // stride of the code plane; 0 in an empty matrix; not in sparse formats
  int64_t scales_offset;   // integer formats
  int64_t zeros_offset;
  int64_t zero_row_bytes;  // stride of the zero-point plane, 0 if there is none
  int64_t total_bytes;     // == SizeBytes(format, rows, cols)
};

// A weight matrix [rows, cols] in a format: bytes and nothing else. Every function below REQUIRES
// that bytes.size() == SizeBytes(format, rows, cols) and 0 <= row < rows.
struct Encoding {
  Format format;
  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<uint8_t> bytes;
};

// The reference decoder: it defines what an encoding means; everything faster is compared with it.
// Writes row `row` as float. REQUIRES: out.size() == encoding.cols.
void DecodeReferenceRow(const Encoding& encoding, int64_t row, std::span<float> out);

// All rows. REQUIRES: out.size() == rows * cols.
void DecodeReference(const Encoding& encoding, std::span<float> out);

// The integer parts of one row of an integer or block format: a weight is level * scale - minimum.
// `levels` gets an integer in [-255, 255] for every input (u - z in integer formats), `scales` the
// scale and `minimums` the minimum of every group. A weight that is not stored has level 0.
// REQUIRES: an integer or block format, levels.size() == cols, scales.size() == groups,
// minimums.size() == groups if the format has minimums, else 0.
void UnpackIntegerRow(const Encoding& encoding,
                      int64_t row,
                      std::span<int16_t> levels,
                      std::span<float> scales,
                      std::span<float> minimums = {});

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_ENCODING_H_
