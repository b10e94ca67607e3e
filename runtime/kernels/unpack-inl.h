#ifndef BITBUDGET_RUNTIME_KERNELS_UNPACK_INL_H_
#define BITBUDGET_RUNTIME_KERNELS_UNPACK_INL_H_

// Weight codes as int16 levels. Included after a vec_*-inl.h.

#include <cstdint>

#include "runtime/kernels/compiler-inl.h"
#include "runtime/kernels/kernel_table.h"
#include "runtime/kernels/layout.h"

namespace bitbudget::BITBUDGET_TIER {
namespace {

// The quads of one vector of a panel, each output's four inputs, as two vectors of pairs.
BITBUDGET_INLINE void StoreLevels(PanelI quads, PanelI zero, int16_t* out) {
  StorePairs(out, SubPairs(EvenBytes(quads), zero));
  StorePairs(out + 2 * kPanelWidth, SubPairs(OddBytes(quads), zero));
}

constexpr uintptr_t kUnpackPrefetchBytes = 16 * 64;

// One group of `inputs` inputs of one panel.
template <int kBits>
BITBUDGET_INLINE void UnpackGroup(const uint8_t* codes,
                                  const float* zeros,
                                  int64_t inputs,
                                  int16_t* out) {
  constexpr int kQuads = 8 / kBits;
  BITBUDGET_UNROLL
  for (int v = 0; v < kPanelWidth / kPanelLanes; ++v) {
    const PanelI zero = IntegerPairs(LoadPanel(zeros + v * kPanelLanes));
    const uint8_t* from = codes + v * 4 * kPanelLanes;
    int16_t* to = out + v * 2 * kPanelLanes;
    for (int64_t i = 0; i < inputs; i += 4 * kQuads, from += 4 * kPanelWidth) {
      Prefetch(reinterpret_cast<uintptr_t>(from) + kUnpackPrefetchBytes);
      if constexpr (kBits == 8) {
        StoreLevels(LoadQuads(from), zero, to);
      } else {
        StoreLevels(LowNibbles(from), zero, to);
        StoreLevels(HighNibbles(from), zero, to + 4 * kPanelWidth);
      }
      to += kQuads * 4 * kPanelWidth;
    }
  }
}

template <int kBits>
void UnpackPanels(
    const CodePanels& b, int64_t begin, int64_t end, int64_t panels, int16_t* levels) {
  for (int64_t panel = 0; panel < panels; ++panel) {
    const uint8_t* codes = b.codes + panel * b.code_stride + begin * (kPanelWidth * kBits / 8);
    const float* zeros = b.zeros + panel * b.zero_stride + begin / b.group * b.zero_step;
    for (int64_t from = begin; from < end; from += b.group, zeros += b.zero_step) {
      const int64_t inputs = from + b.group < end ? b.group : end - from;
      UnpackGroup<kBits>(codes, zeros, inputs, levels);
      codes += inputs * (kPanelWidth * kBits / 8);
      levels += inputs * kPanelWidth;
    }
  }
}

void UnpackCodes(const CodePanels& b, int64_t begin, int64_t end, int64_t panels, int16_t* levels) {
  if (b.code_bits == 8) return UnpackPanels<8>(b, begin, end, panels, levels);
  UnpackPanels<4>(b, begin, end, panels, levels);
}

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_UNPACK_INL_H_
