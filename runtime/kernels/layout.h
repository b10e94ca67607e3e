#ifndef BITBUDGET_RUNTIME_KERNELS_LAYOUT_H_
#define BITBUDGET_RUNTIME_KERNELS_LAYOUT_H_

// The constants of the execution layouts (docs/kernels.md). They do not depend on the CPU tier.
// This header includes nothing: the tier files see it too.

namespace bitbudget {

// Outputs per weight panel: 16 floats are one AVX-512 register or two AVX2 registers.
inline constexpr int kPanelWidth = 16;
// Rows per activation block: 6 rows x 16 outputs are 12 AVX2 accumulators, which leaves four of the
// 16 registers for two weight vectors, a broadcast and a temporary.
inline constexpr int kTileRows = 6;
// The most panels that any tile works on at once.
inline constexpr int kMaxTilePanels = 4;
// Inputs are padded with zeros to a multiple of this.
inline constexpr int kInputPad = 32;
// Groups of activations that share a scale are multiples of this.
inline constexpr int kCodeStep = 16;
// Inputs whose int16 x int16 products may be summed in int32 before a flush to float:
// 256 * 255 * 32767 < 2^31, for codes of up to 8 bits with any zero point.
inline constexpr int kMaxFlush = 256;
// The largest magnitudes of an int16 and of an int8 activation code.
inline constexpr int kMaxInt16Code = 32767;
inline constexpr int kMaxInt8Code = 127;
// The largest codes of weights in 4 and 8 bits. The products of 8-bit codes with int8 activations
// over kMaxFlush inputs, and the product of a zero point with the sum of those activations, are
// below 255 * 127 * 256 < 2^24, so both are exact floats.
inline constexpr int kMaxUint4Code = 15;
inline constexpr int kMaxUint8Code = 255;

// Where input i of a row stands in the order of int16 codes, in which pairs are multiplied: 0 2 1 3
// in every four. The bytes of four inputs give such pairs with a mask and a shift.
template <typename Index>
constexpr Index PairOrder(Index i) {
  return i % 4 == 1 || i % 4 == 2 ? i ^ 3 : i;
}

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_LAYOUT_H_
