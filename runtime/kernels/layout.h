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
// Inputs whose int16 x int16 products may be summed in int32 before a flush to float:
// 256 * 255 * 32767 < 2^31, for codes of up to 8 bits with any zero point.
inline constexpr int kMaxFlush = 256;
// The largest magnitude of an int16 activation code.
inline constexpr int kMaxActivationCode = 32767;

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_LAYOUT_H_
