#ifndef BITBUDGET_RUNTIME_KERNELS_PANELS_H_
#define BITBUDGET_RUNTIME_KERNELS_PANELS_H_

#include <cstdint>

#include "runtime/base/aligned_buffer.h"
#include "runtime/kernels/input_rounding.h"
#include "runtime/kernels/kernel_table.h"
#include "runtime/kernels/layout.h"
#include "runtime/tensor/encoding.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

// The kind of matrix product that weights take part in.
//   kF32:   f32 weights, f32 activations, FMA.
//   kInt16: codes, activations rounded to int16 per row, exact int32 sums.
//   kInt8:  codes, activations rounded to int8 per row and group, exact int32 sums.
//   kNone:  nothing is multiplied, and outputs are zeros (removed matrices).
enum class Path : uint8_t { kF32, kInt16, kInt8, kNone };

// How a product wants its activations packed.
struct ActivationPacking {
  // A path without groups is a packing. NOLINTNEXTLINE(google-explicit-constructor)
  ActivationPacking(Path path = Path::kF32,
                    int group = 0,
                    int sum_group = 0,
                    int token_bits = 0,
                    InputRounding rounding = InputRounding::kNone,
                    int code_bits = 8)
      : path(path),
        code_bits(path == Path::kInt8 ? code_bits : 0),
        group(group),
        sum_group(sum_group),
        token_bits(token_bits),
        rounding(rounding) {}

  Path path;
  int code_bits;   // of the weights, kInt8 only
  int group;       // inputs per activation scale, kInt8 only; 0: none or one scale per row
  int sum_group;   // inputs per sum of activations, for weights with minimums; 0: no sums
  int token_bits;  // rows are rounded to so many bits first (token_rounding.h); 0: they are not
  // kF32: rows are rounded to a 16-bit type first. kInt8: how codes and scales come about, with
  // groups that divide its runs; kNone: as KernelTable::pack_i16 makes them.
  InputRounding rounding;

  friend bool operator==(const ActivationPacking&, const ActivationPacking&) = default;
};

// A weight matrix [n, k] packed for one path. n is padded to whole panels (zero weights), k to
// kInputPad (zero weights).
//   kF32: f32[panel][k][16]
//   kInt16, kInt8: unsigned codes with weight = scale * (code - zero).
//         8 bits: u8[panel][k/4][16][4].
//         4 bits, where levels span at most 15 and flush groups are multiples of 8:
//         u8[panel][k/8][16][4]; the low nibbles of byte c belong to input 8j + c, the high ones to
//         8j + 4 + c.
//         scales[panel][flush group][16]: flush groups hold `flush` inputs each (the last one what
//         is left) and carry the scale of the format's group that they lie in. The zero points of
//         symmetric formats are one vector zeros[16]; else they are zeros[panel][flush group][16],
//         each the one for which the group's codes start at 0.
// Formats with minimums (weight = level * scale - minimum) have one panel more, f32[panel][minimum
// groups][16] of negated minimums: the product with the sums of each group's activations, a small
// kF32 product, is added to that of the levels.
struct WeightPanels {
  Path path = Path::kF32;
  int64_t n = 0;
  int64_t k = 0;
  int64_t padded_k = 0;
  int64_t panels = 0;
  int code_bits = 0;  // 4 or 8; 0 for kF32
  int flush = 0;      // inputs per flush group, a multiple of 4; 0 for kF32
  int64_t flush_groups = 0;
  AlignedBuffer<float> f32;
  AlignedBuffer<uint8_t> codes;
  AlignedBuffer<float> scales;
  bool one_zero = false;  // zeros is one vector
  AlignedBuffer<float> zeros;
  int minimum_group = 0;  // inputs per minimum; 0: no minimums
  AlignedBuffer<float> minimums;
  int token_bits = 0;  // of ActivationPacking, as the next
  InputRounding rounding = InputRounding::kNone;
  // Every row of outputs is normalised to mean 0 and variance 1 (onebit-ln).
  bool layer_norm = false;

  int64_t minimum_groups() const { return minimum_group == 0 ? 0 : padded_k / minimum_group; }
  ActivationPacking packing() const {
    return {path, path == Path::kInt8 ? flush : 0, minimum_group, token_bits, rounding, code_bits};
  }
  int64_t bytes() const {
    return f32.size() * 4 + codes.size() + scales.size() * 4 + zeros.size() * 4 +
           minimums.size() * 4;
  }
};

// The panels [panel, ...) of codes as kernels take them.
CodePanels CodesFrom(const WeightPanels& w, int64_t panel);

// The bytes of the panels of a format with levels, [n, k], cut into flush groups of at most
// `max_flush` inputs.
int64_t CodePanelBytes(const Format& format, int64_t n, int64_t k, int max_flush = kMaxFlush);

// Float and one-bit formats give kF32 panels, a removed matrix kNone, all others kInt16 panels.
// Weights that a sparse format does not store are ordinary zeros in all of them.
WeightPanels PackWeights(const Encoding& encoding);

// The same panels for int8 activations: kInt8 in place of kInt16.
WeightPanels PackWeightsInt8(const Encoding& encoding);

// The same for activations rounded as llama.cpp rounds them ahead of this format
// (LlamaCppRounding): kInt8 panels of block formats, kF32 panels of float formats. Formats that it
// does not have are packed as by PackWeights.
WeightPanels PackWeightsLlamaCpp(const Encoding& encoding);

// Any encoding as kF32 panels of its decoded values; kNone for a removed matrix.
WeightPanels PackWeightsF32(const Encoding& encoding);

// Checkpoint weights as kF32 panels.
WeightPanels PackWeightsF32(const TensorView& weights);

// Activations [m, k] packed into blocks of 6 rows (the last block padded with zero rows).
//   kF32:   f32[block][k][6]
//   kInt16: i16[block][k/2][6][2] in PairOrder, and one scale per row: x ~ scale * q, |q| <= 32767.
//   kInt8:  i8[block][k/4][6][4], |q| <= 127, scales and sums of q [block][group][6]; with a
//           rounding the scales of the groups of a run are those of the run.
//           For codes that the tier widens
//           (KernelTable::int8_code_bits) as kInt16, with these scales and without sums.
// With a sum_group also group_sums f32[block][sum group][6]: the exact sum of the codes of that
// many inputs times their scale (kQ8_1: as defined there). Codes and scales are defined at
// KernelTable::pack_i16 and at InputRounding.
struct PackedActivations {
  ActivationPacking packing;
  int64_t m = 0;
  int64_t k = 0;
  int64_t padded_k = 0;
  bool wide = false;  // codes are in i16
  AlignedBuffer<float> f32;
  AlignedBuffer<int16_t> i16;
  AlignedBuffer<int8_t> i8;
  AlignedBuffer<float> scales;
  AlignedBuffer<float> sums;
  AlignedBuffer<float> group_sums;

  // Scales per row.
  int64_t groups() const {
    if (packing.path == Path::kF32 || packing.path == Path::kNone) return 0;
    return packing.group == 0 ? 1 : (padded_k + packing.group - 1) / packing.group;
  }
  // The code of input i of a row; wide codes only.
  int16_t WideCode(int64_t row, int64_t i) const {
    const int64_t at = PairOrder(i);
    return i16[row / kTileRows * kTileRows * padded_k + at / 2 * 2 * kTileRows +
               row % kTileRows * 2 + at % 2];
  }
  // Sums per row.
  int64_t sum_groups() const { return packing.sum_group == 0 ? 0 : padded_k / packing.sum_group; }
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_PANELS_H_
