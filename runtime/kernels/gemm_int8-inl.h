#ifndef BITBUDGET_RUNTIME_KERNELS_GEMM_INT8_INL_H_
#define BITBUDGET_RUNTIME_KERNELS_GEMM_INT8_INL_H_

// The matrix body of unsigned codes times int8. Included after gemm-inl.h.

#include <cstdint>

#include "runtime/kernels/compiler-inl.h"
#include "runtime/kernels/kernel_table.h"
#include "runtime/kernels/layout.h"

namespace bitbudget::BITBUDGET_TIER {
namespace {

// sums = (or, with `add`, +=) start[row] + the products of the next `inputs` inputs; moves `a` and
// `codes` behind them. 64 bytes of a panel hold four inputs in 8 bits, or eight in 4.
template <int kRows, int kPanels, int kBits>
BITBUDGET_INLINE void SumQuads(int64_t inputs,
                               int64_t code_stride,
                               bool add,
                               const PanelU* start,
                               const int8_t*& a,
                               const uint8_t*& codes,
                               PanelI* sums) {
  constexpr int kVectors = kPanels * kPanelVectors;
  constexpr int kQuads = 8 / kBits;
  PanelU acc[kRows * kVectors];
  BITBUDGET_UNROLL
  for (int i = 0; i < kRows * kVectors; ++i) acc[i] = start[i / kVectors];
  for (; inputs > 0; inputs -= 4 * kQuads, a += 4 * kQuads * kTileRows, codes += 4 * kPanelWidth) {
    PrefetchAhead<kPanels>(codes, code_stride);
    BITBUDGET_UNROLL
    for (int quad = 0; quad < kQuads; ++quad) {
      PanelI w[kVectors];
      BITBUDGET_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const uint8_t* at =
            codes + v / kPanelVectors * code_stride + v % kPanelVectors * (4 * kPanelLanes);
        w[v] = kBits == 8 ? LoadQuads(at) : quad == 0 ? LowNibbles(at) : HighNibbles(at);
      }
      BITBUDGET_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const PanelI x = BroadcastQuad(a + (quad * kTileRows + r) * 4);
        BITBUDGET_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          acc[r * kVectors + v] = MulAddQuads(w[v], x, acc[r * kVectors + v]);
          Keep(acc[r * kVectors + v]);
        }
      }
    }
  }
  BITBUDGET_UNROLL
  for (int i = 0; i < kRows * kVectors; ++i) {
    const PanelI wide = WidenQuads(acc[i]);
    sums[i] = add ? AddPanelI(sums[i], wide) : wide;
  }
}

// Parts of a group are whole in every tier: there is one, or they have the 32 inputs that padding
// rounds to.
static_assert(kQuadFlushInputs == kInputPad || kQuadFlushInputs == kMaxFlush);
static_assert(kInt8CodeBits == 4 || kInt8CodeBits == 8);

// kOnePart: groups have at most kQuadFlushInputs inputs. A tile with several parts keeps the int32
// sums of a group in memory; in one function with both, g++ 12 spills the accumulators too and
// takes a quarter of the speed.
// kOneZero: all groups have the zero point zeros[0]. The int32 sums start from what it takes off,
// which saves a fused multiply-add for every one of them (a tenth of the tile at groups of 32).
template <int kRows, int kPanels, int kBits, bool kOnePart, bool kOneZero>
BITBUDGET_INLINE void TileInt8(const int8_t* a,
                               const float* a_scales,
                               const float* a_sums,
                               CodePanels b,
                               float* c,
                               int64_t ldc) {
  constexpr int kVectors = kPanels * kPanelVectors;
  PanelI sums[kRows * kVectors];
  BITBUDGET_UNROLL
  for (int i = 0; i < kRows * kVectors; ++i) sums[i] = ZeroPanelI();
  PanelU start[kRows];
  BITBUDGET_UNROLL
  for (int r = 0; r < kRows; ++r) start[r] = ZeroPanelU();
  for (int64_t begin = 0; begin < b.padded_k; begin += b.group) {
    const int64_t end = begin + b.group < b.padded_k ? begin + b.group : b.padded_k;
    if constexpr (kOnePart) {
      if constexpr (kOneZero) {
        BITBUDGET_UNROLL
        for (int r = 0; r < kRows; ++r) {
          start[r] = BroadcastInt(static_cast<int32_t>(-b.zeros[0] * a_sums[r]));
        }
      }
      SumQuads<kRows, kPanels, kBits>(
          end - begin, b.code_stride, /*add=*/false, start, a, b.codes, sums);
    } else {
      for (int64_t part = begin; part < end; part += kInputPad) {
        SumQuads<kRows, kPanels, kBits>(
            kInputPad, b.code_stride, part > begin, start, a, b.codes, sums);
      }
    }
    BITBUDGET_UNROLL
    for (int i = 0; i < kRows * kVectors; ++i) {
      const int r = i / kVectors;
      const int v = i % kVectors;
      const int64_t panel = v / kPanelVectors;
      const int lane = v % kPanelVectors * kPanelLanes;
      float* out = c + r * ldc + v * kPanelLanes;
      PanelF sum = ToFloatPanel(sums[i]);
      if constexpr (!kOneZero) {
        sum = NegativeFmaPanel(
            LoadPanel(b.zeros + panel * b.zero_stride + lane), BroadcastPanel(a_sums + r), sum);
      }
      const PanelF scale = MulPanel(LoadPanel(b.scales + panel * b.scale_stride + lane),
                                    BroadcastPanel(a_scales + r));
      const PanelF before = begin == 0 ? ZeroPanel() : LoadPanel(out);
      StorePanel(out, FmaPanel(sum, scale, before));
    }
    b.scales += kPanelWidth;
    b.zeros += b.zero_step;
    a_scales += kTileRows;
    a_sums += kTileRows;
  }
}

// Panels that the int8 tile works on at once.
constexpr int Int8PanelsAtOnce(int rows) { return rows == 1 ? kInt8RowPanels : PanelsAtOnce(rows); }

template <int kRows, int kBits, bool kOnePart, bool kOneZero, int kPanels = Int8PanelsAtOnce(kRows)>
void PanelsInt8(const int8_t* a,
                const float* a_scales,
                const float* a_sums,
                CodePanels b,
                int64_t panels,
                float* c,
                int64_t ldc) {
  for (; panels >= kPanels; panels -= kPanels) {
    TileInt8<kRows, kPanels, kBits, kOnePart, kOneZero>(a, a_scales, a_sums, b, c, ldc);
    b.codes += kPanels * b.code_stride;
    b.scales += kPanels * b.scale_stride;
    b.zeros += kPanels * b.zero_stride;
    c += kPanels * kPanelWidth;
  }
  if constexpr (kPanels > 1) {
    PanelsInt8<kRows, kBits, kOnePart, kOneZero, kPanels / 2>(
        a, a_scales, a_sums, b, panels, c, ldc);
  }
}

template <int kBits, bool kOnePart, bool kOneZero>
void TileInt8Rows(const int8_t* a,
                  const float* a_scales,
                  const float* a_sums,
                  const CodePanels& b,
                  int rows,
                  int64_t panels,
                  float* c,
                  int64_t ldc) {
  switch (rows) {
    case 1:
      return PanelsInt8<1, kBits, kOnePart, kOneZero>(a, a_scales, a_sums, b, panels, c, ldc);
    case 2:
      return PanelsInt8<2, kBits, kOnePart, kOneZero>(a, a_scales, a_sums, b, panels, c, ldc);
    case 3:
      return PanelsInt8<3, kBits, kOnePart, kOneZero>(a, a_scales, a_sums, b, panels, c, ldc);
    case 4:
      return PanelsInt8<4, kBits, kOnePart, kOneZero>(a, a_scales, a_sums, b, panels, c, ldc);
    case 5:
      return PanelsInt8<5, kBits, kOnePart, kOneZero>(a, a_scales, a_sums, b, panels, c, ldc);
    case 6:
      return PanelsInt8<6, kBits, kOnePart, kOneZero>(a, a_scales, a_sums, b, panels, c, ldc);
  }
}

void AnyTileInt8(const int8_t* a,
                 const float* a_scales,
                 const float* a_sums,
                 const CodePanels& b,
                 int rows,
                 int64_t panels,
                 float* c,
                 int64_t ldc) {
  if constexpr (kQuadFlushInputs < kMaxFlush) {
    if (b.group > kQuadFlushInputs) {
      return TileInt8Rows<4, false, false>(a, a_scales, a_sums, b, rows, panels, c, ldc);
    }
    return TileInt8Rows<4, true, false>(a, a_scales, a_sums, b, rows, panels, c, ldc);
  } else {
    const bool one_zero = b.zero_step == 0;
    if (b.code_bits == 8) {
      return one_zero ? TileInt8Rows<8, true, true>(a, a_scales, a_sums, b, rows, panels, c, ldc)
                      : TileInt8Rows<8, true, false>(a, a_scales, a_sums, b, rows, panels, c, ldc);
    }
    return one_zero ? TileInt8Rows<4, true, true>(a, a_scales, a_sums, b, rows, panels, c, ldc)
                    : TileInt8Rows<4, true, false>(a, a_scales, a_sums, b, rows, panels, c, ldc);
  }
}

// What can hold the products of 8-bit codes can hold a whole group's, and start anywhere.
static_assert((kInt8CodeBits == 8) == (kQuadFlushInputs == kMaxFlush));
static_assert(kTileRows == 6, "the switches above list the rows of a tile");

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_GEMM_INT8_INL_H_
