#ifndef BITBUDGET_RUNTIME_TENSOR_BLOCK_FORMAT_H_
#define BITBUDGET_RUNTIME_TENSOR_BLOCK_FORMAT_H_

#include <cstdint>

#include "runtime/tensor/format.h"
#include "runtime/tensor/lattice.h"

namespace bitbudget {

// The most inputs, and the most groups of inputs with a scale of their own, in any block.
inline constexpr int kMaxBlock = 256;
inline constexpr int kMaxBlockGroups = 16;

// What there is to know about a block type beside the order of its bits (block_codec.h). A
// block has groups of inputs that share a scale s and, in some types, a minimum m. A weight is
// level * s - m, where the level, a small integer, follows from the stored code: 0 <= code <
// `codes`.
struct BlockTraits {
  FormatKind kind;
  const char* name;  // in GGUF in lower case
  int bits;          // per code, as the name counts them
  int block;         // inputs
  int bytes;         // per block
  int group;         // inputs per scale
  bool minimum;      // groups have a minimum
  int codes;         // stored codes are below this
  int step;          // level = step * code - offset, unless there is a table
  int offset;
  const int8_t* levels;  // i8[codes], or null
  // The integers that scale d (and, up to the same largest, dmin) in a group; 1 and 1 in types
  // whose d is the scale of their only group.
  int smallest_scale;
  int largest_scale;
  // Codebook types: what the levels of consecutive inputs are chosen from together. Their integer
  // scales are odd.
  const Lattice* lattice = nullptr;

  int groups() const { return block / group; }
  int Level(int code) const { return levels != nullptr ? levels[code] : step * code - offset; }
};

namespace internal {

// The levels of IQ4_NL and IQ4_XS, and twice the values of the 4-bit float E2M1.
inline constexpr int8_t kNonLinearLevels[16] = {
    -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
inline constexpr int8_t kE2M1Levels[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

inline constexpr BlockTraits kBlockTraits[] = {
    {FormatKind::kQ4_0, "q4_0", 4, 32, 18, 32, false, 16, 1, 8, nullptr, 1, 1},
    {FormatKind::kQ4_1, "q4_1", 4, 32, 20, 32, true, 16, 1, 0, nullptr, 1, 1},
    {FormatKind::kQ5_0, "q5_0", 5, 32, 22, 32, false, 32, 1, 16, nullptr, 1, 1},
    {FormatKind::kQ5_1, "q5_1", 5, 32, 24, 32, true, 32, 1, 0, nullptr, 1, 1},
    {FormatKind::kQ8_0, "q8_0", 8, 32, 34, 32, false, 256, 1, 128, nullptr, 1, 1},
    {FormatKind::kQ2_K, "q2_k", 2, 256, 84, 16, true, 4, 1, 0, nullptr, 0, 15},
    {FormatKind::kQ3_K, "q3_k", 3, 256, 110, 16, false, 8, 1, 4, nullptr, -32, 31},
    {FormatKind::kQ4_K, "q4_k", 4, 256, 144, 32, true, 16, 1, 0, nullptr, 0, 63},
    {FormatKind::kQ5_K, "q5_k", 5, 256, 176, 32, true, 32, 1, 0, nullptr, 0, 63},
    {FormatKind::kQ6_K, "q6_k", 6, 256, 210, 16, false, 64, 1, 32, nullptr, -128, 127},
    {FormatKind::kIQ4_NL, "iq4_nl", 4, 32, 18, 32, false, 16, 0, 0, kNonLinearLevels, 1, 1},
    {FormatKind::kIQ4_XS, "iq4_xs", 4, 256, 136, 32, false, 16, 0, 0, kNonLinearLevels, -32, 31},
    {FormatKind::kTQ1_0, "tq1_0", 1, 256, 54, 256, false, 3, 1, 1, nullptr, 1, 1},
    {FormatKind::kTQ2_0, "tq2_0", 2, 256, 66, 256, false, 4, 1, 1, nullptr, 1, 1},
    {FormatKind::kQ1_0, "q1_0", 1, 128, 18, 128, false, 2, 2, 1, nullptr, 1, 1},
    {FormatKind::kQ2_0, "q2_0", 2, 64, 18, 64, false, 4, 1, 1, nullptr, 1, 1},
    {FormatKind::kMXFP4, "mxfp4", 4, 32, 17, 32, false, 16, 0, 0, kE2M1Levels, 1, 1},
    {FormatKind::kIQ1_S, "iq1_s", 1, 256, 50, 32, false, 128, 1, 64, nullptr, 1, 15, &kIQ1Lattice},
    {FormatKind::kIQ1_M, "iq1_m", 1, 256, 56, 16, false, 128, 1, 64, nullptr, 1, 15, &kIQ1Lattice},
    {FormatKind::kIQ2_XXS,
     "iq2_xxs",
     2,
     256,
     66,
     32,
     false,
     128,
     1,
     64,
     nullptr,
     1,
     31,
     &kIQ2XXSLattice},
    {FormatKind::kIQ2_XS,
     "iq2_xs",
     2,
     256,
     74,
     16,
     false,
     128,
     1,
     64,
     nullptr,
     1,
     31,
     &kIQ2XSLattice},
    {FormatKind::kIQ2_S, "iq2_s", 2, 256, 82, 16, false, 128, 1, 64, nullptr, 1, 31, &kIQ2SLattice},
    {FormatKind::kIQ3_XXS,
     "iq3_xxs",
     3,
     256,
     98,
     32,
     false,
     128,
     1,
     64,
     nullptr,
     1,
     31,
     &kIQ3XXSLattice},
    {FormatKind::kIQ3_S,
     "iq3_s",
     3,
     256,
     110,
     32,
     false,
     128,
     1,
     64,
     nullptr,
     1,
     31,
     &kIQ3SLattice},
};

// Of kAffine by bits and group: "affine4-g64".
inline constexpr BlockTraits kAffineTraits[] = {
    {FormatKind::kAffine, "affine2-g32", 2, 32, 12, 32, true, 4, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine2-g64", 2, 64, 20, 64, true, 4, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine2-g128", 2, 128, 36, 128, true, 4, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine3-g32", 3, 32, 16, 32, true, 8, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine3-g64", 3, 64, 28, 64, true, 8, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine3-g128", 3, 128, 52, 128, true, 8, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine4-g32", 4, 32, 20, 32, true, 16, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine4-g64", 4, 64, 36, 64, true, 16, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine4-g128", 4, 128, 68, 128, true, 16, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine5-g32", 5, 32, 24, 32, true, 32, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine5-g64", 5, 64, 44, 64, true, 32, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine5-g128", 5, 128, 84, 128, true, 32, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine6-g32", 6, 32, 28, 32, true, 64, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine6-g64", 6, 64, 52, 64, true, 64, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine6-g128", 6, 128, 100, 128, true, 64, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine8-g32", 8, 32, 36, 32, true, 256, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine8-g64", 8, 64, 68, 64, true, 256, 1, 0, nullptr, 1, 1},
    {FormatKind::kAffine, "affine8-g128", 8, 128, 132, 128, true, 256, 1, 0, nullptr, 1, 1},
};

constexpr bool InOrderOfKind() {
  int kind = static_cast<int>(FormatKind::kQ4_0);
  for (const BlockTraits& traits : kBlockTraits) {
    if (static_cast<int>(traits.kind) != kind++) return false;
  }
  return kind == static_cast<int>(FormatKind::kAffine);
}
static_assert(InOrderOfKind());

}  // namespace internal

// REQUIRES: the kind of a block type of GGUF.
constexpr const BlockTraits& BlockTraitsOf(FormatKind kind) {
  return internal::kBlockTraits[static_cast<int>(kind) - static_cast<int>(FormatKind::kQ4_0)];
}

// REQUIRES: a block format that is supported.
constexpr const BlockTraits& BlockTraitsOf(const Format& format) {
  if (format.kind != FormatKind::kAffine) return BlockTraitsOf(format.kind);
  const int bits = format.bits == 8 ? 5 : format.bits - 2;
  const int group = format.group == 32 ? 0 : format.group == 64 ? 1 : 2;
  return internal::kAffineTraits[3 * bits + group];
}

// The one Format of a block type of GGUF.
constexpr Format BlockFormat(FormatKind kind) { return {kind, BlockTraitsOf(kind).bits, 0, false}; }

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_BLOCK_FORMAT_H_
