#ifndef BITBUDGET_RUNTIME_TENSOR_FORMAT_H_
#define BITBUDGET_RUNTIME_TENSOR_FORMAT_H_

#include <compare>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace bitbudget {

// Float formats, the integer family of bitbudget, one-bit layers, no weights at all, one kind per
// block type of GGUF, and the blocks of MLX.
enum class FormatKind : uint8_t {
  kF32,
  kF16,
  kBF16,
  kInteger,
  kOneBit,
  kRemoved,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ8_0,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kIQ4_NL,
  kIQ4_XS,
  kTQ1_0,
  kTQ2_0,
  kQ1_0,
  kQ2_0,
  kMXFP4,
  kIQ1_S,
  kIQ1_M,
  kIQ2_XXS,
  kIQ2_XS,
  kIQ2_S,
  kIQ3_XXS,
  kIQ3_S,
  kAffine,
};

// Which weights of a matrix [n, k] are zeros that are not stored; a mask says where they are.
// kShare: of all weights round(n k permille / 1000). k2of4: all but two of every run of four inputs
// of a row.
enum class SparsityKind : uint8_t { kDense, kShare, k2of4 };
struct Sparsity {
  SparsityKind kind = SparsityKind::kDense;
  int permille = 0;  // kShare only: in [1, 999]

  friend auto operator<=>(const Sparsity&, const Sparsity&) = default;
};

// How the codes and scales of one weight matrix [n, k] are stored. A value with equality and order.
//
// Integer formats: every row is cut into groups of `group` consecutive inputs (the last group of a
// row is short when `group` does not divide k; group 0 is one group per row). A group has one f16
// scale s and unsigned codes u of `bits` bits; a weight is (u - z) * s, where the zero point z is
// stored per group in `bits` bits (`zero_point`) or fixed at 2^(bits-1) (symmetric).
//
// One-bit layers (OneBit, arXiv 2402.11295, eq. 3): a sign per weight and the f16 vectors g[k] and
// h[n]; a weight is sign * g * h. With `layer_norm` the outputs of a row of inputs are normalised
// (mean 0, variance 1) ahead of the bias, so that it is more than a matrix.
//
// A removed matrix has no bytes, and its outputs are zeros.
//
// Float and integer formats may be sparse: a weight that the mask leaves out is exactly zero, and
// only the codes of the others are stored.
//
// Block formats: every row is a sequence of blocks of a fixed number of inputs and bytes
// (block_format.h), with the bytes that GGUF stores. Only rows of whole blocks can be stored.
// Affine blocks, of `group` inputs, are those of MLX: a scale and an offset, both f16, and codes of
// `bits` bits.
//
// docs/formats.md has the byte layouts.
struct Format {
  FormatKind kind = FormatKind::kF32;
  int bits = 32;  // per weight, without scales, minimums and zero points
  int group = 0;  // integer formats: inputs per scale (0: the whole row); affine: a block's
  bool zero_point = false;  // integer formats: stored zero point (true) or symmetric (false)
  bool layer_norm = false;  // one-bit layers: outputs are normalised
  Sparsity sparsity = {};   // float and integer formats

  bool IsFloat() const { return kind < FormatKind::kInteger; }
  bool IsInteger() const { return kind == FormatKind::kInteger; }
  bool IsBlock() const { return kind >= FormatKind::kQ4_0; }
  // Weights are integer levels times scales (less minimums).
  bool HasLevels() const { return IsInteger() || IsBlock(); }
  bool IsSparse() const { return sparsity.kind != SparsityKind::kDense; }

  // The same without sparsity.
  Format Dense() const {
    Format dense = *this;
    dense.sparsity = {};
    return dense;
  }

  // Inputs that a row must hold a multiple of: those of a block, 1 for other formats.
  int64_t BlockSize() const;

  // Inputs that share a scale in a row of k: of an integer format the group, or k for one group per
  // row (the last group of a row may hold fewer); of a block format the group of its type. 0 for
  // formats without levels.
  int64_t GroupSize(int64_t k) const;

  // Scales per row of k inputs, ceil(k / GroupSize(k)), so 1 for one group per row. 0 for formats
  // without levels and for k == 0.
  int64_t GroupsPerRow(int64_t k) const;

  // Whether groups have a minimum beside their scale: a weight is level * scale - minimum.
  bool HasMinimums() const;

  // "f32", "int8", "int8z", "int4-g64", "int4z-g32", "onebit", "onebit-ln", "removed", "q4_k",
  // "int4-g64+2:4", "bf16+s37.5" (zeros in per cent), ...; ParseFormat reads every name back.
  std::string Name() const;

  friend auto operator<=>(const Format&, const Format&) = default;
};

inline constexpr Format kFormatF32{FormatKind::kF32, 32, 0, false};
inline constexpr Format kFormatF16{FormatKind::kF16, 16, 0, false};
inline constexpr Format kFormatBF16{FormatKind::kBF16, 16, 0, false};

// Every dense format this build can encode, decode and run, in a fixed order: float formats, then
// int8, int4, int3, int2 (symmetric before zero point, per row before growing groups), one-bit
// layers, removed, then block formats in the order of FormatKind.
std::span<const Format> SupportedFormats();

// Whether the format is one of these, or a float or integer one of them with a valid sparsity.
bool IsSupported(const Format& format);

// Accepts exactly the names of supported formats. kInvalidArgument names the unknown text and
// lists what is supported.
absl::StatusOr<Format> ParseFormat(absl::string_view name);

// Whether rows of k inputs can be stored: whole blocks. True for all but block formats.
inline bool Fits(const Format& format, int64_t k) { return k % format.BlockSize() == 0; }

// The exact size of a [n, k] matrix in this format, in bits: codes, masks, scales, zero points and
// padding to whole bytes. Always a multiple of 8. The only source of sizes in bitbudget: it equals
// what an encoder produces and what a plan promises. Intermediate values never overflow. REQUIRES:
// a supported format, n >= 0, k >= 0, Fits(format, k), and a result below 2^63 bits (one exbibyte).
int64_t SizeBits(const Format& format, int64_t n, int64_t k);
inline int64_t SizeBytes(const Format& format, int64_t n, int64_t k) {
  return SizeBits(format, n, k) / 8;
}

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_FORMAT_H_
