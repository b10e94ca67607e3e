#ifndef BITBUDGET_RUNTIME_TENSOR_BLOCK_FORMAT_H_
#define BITBUDGET_RUNTIME_TENSOR_BLOCK_FORMAT_H_

#include <cstdint>

#include "runtime/tensor/format.h"

namespace bitbudget {

// The most inputs, and the most groups of inputs with a scale of their own, in any block.
inline constexpr int kMaxBlock = 256;
inline constexpr int kMaxBlockGroups = 16;

// What there is to know about a block type of GGUF beside the order of its bits (block_codec.h). A
// block has groups of inputs that share a scale s and, in some types, a minimum m. A weight is
// level * s - m, where the level, a small integer, follows from the stored code: 0 <= code <
// `codes`.
struct BlockTraits {
  FormatKind kind;
  const char* name;  // GGUF's name in lower case
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
};

constexpr bool InOrderOfKind() {
  int kind = static_cast<int>(FormatKind::kQ4_0);
  for (const BlockTraits& traits : kBlockTraits) {
    if (static_cast<int>(traits.kind) != kind++) return false;
  }
  return kind == static_cast<int>(FormatKind::kMXFP4) + 1;
}
static_assert(InOrderOfKind());

}  // namespace internal

// REQUIRES: the kind of a block format.
constexpr const BlockTraits& BlockTraitsOf(FormatKind kind) {
  return internal::kBlockTraits[static_cast<int>(kind) - static_cast<int>(FormatKind::kQ4_0)];
}

// The one Format of a block type.
constexpr Format BlockFormat(FormatKind kind) { return {kind, BlockTraitsOf(kind).bits, 0, false}; }

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_BLOCK_FORMAT_H_
