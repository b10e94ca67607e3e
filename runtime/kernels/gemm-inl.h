#ifndef BITBUDGET_RUNTIME_KERNELS_GEMM_INL_H_
#define BITBUDGET_RUNTIME_KERNELS_GEMM_INL_H_

// The three matrix bodies. Included after a vec_*-inl.h, whose panel vectors decide how many
// vectors a panel of 16 outputs has and how many accumulators a tile may hold.

#include <cstdint>

#include "runtime/kernels/compiler-inl.h"
#include "runtime/kernels/kernel_table.h"
#include "runtime/kernels/layout.h"

namespace bitbudget::BITBUDGET_TIER {
namespace {

constexpr int kPanelVectors = kPanelWidth / kPanelLanes;

// Panels that a tile of `rows` rows works on at once: as many as the registers hold, so that there
// are enough independent chains to hide the latency of an FMA, and at most four, because every
// panel is a stream of its own for the prefetcher. It does not change the order of any sum.
constexpr int PanelsAtOnce(int rows) {
  int panels = 1;
  while (panels < kMaxTilePanels && 2 * panels * rows * kPanelVectors <= kAccumulators) panels *= 2;
  return panels;
}

// How far ahead of its use a weight panel is fetched. One panel at a time: 128 steps of 64 bytes,
// which also reaches into the next panel. The hardware prefetcher follows the stream but loses it
// when the next tile starts the panel again; this gave the f32 tile 13% at 24 rows and 2% at 240
// rows on a Zen 5. Several at once: 32 steps, as what lies beyond the end of a panel is its
// neighbour, which passes at the same time.
constexpr uintptr_t kPrefetchBytes = 128 * 64;
constexpr uintptr_t kPrefetchBytesOfSeveral = 32 * 64;

template <int kPanels>
BITBUDGET_INLINE void PrefetchAhead(const void* weights, int64_t stride_bytes) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(weights);
  BITBUDGET_UNROLL
  for (int panel = 0; panel < kPanels; ++panel) {
    Prefetch(address + panel * stride_bytes +
             (kPanels == 1 ? kPrefetchBytes : kPrefetchBytesOfSeveral));
  }
}

template <int kRows, int kPanels>
BITBUDGET_INLINE void TileF32(const float* a,
                              const float* b,
                              int64_t b_stride,
                              int64_t k,
                              bool accumulate,
                              float* c,
                              int64_t ldc) {
  constexpr int kVectors = kPanels * kPanelVectors;
  PanelF acc[kRows * kVectors];
  if (accumulate) {
    BITBUDGET_UNROLL
    for (int i = 0; i < kRows * kVectors; ++i) {
      acc[i] = LoadPanel(c + i / kVectors * ldc + i % kVectors * kPanelLanes);
    }
  } else {
    BITBUDGET_UNROLL
    for (int i = 0; i < kRows * kVectors; ++i) acc[i] = ZeroPanel();
  }
  for (int64_t i = 0; i < k; ++i, a += kTileRows, b += kPanelWidth) {
    PrefetchAhead<kPanels>(b, b_stride * sizeof(float));
    PanelF w[kVectors];
    BITBUDGET_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      w[v] = LoadPanel(b + v / kPanelVectors * b_stride + v % kPanelVectors * kPanelLanes);
    }
    BITBUDGET_UNROLL
    for (int r = 0; r < kRows; ++r) {
      const PanelF x = BroadcastPanel(a + r);
      BITBUDGET_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        acc[r * kVectors + v] = FmaPanel(x, w[v], acc[r * kVectors + v]);
        Keep(acc[r * kVectors + v]);
      }
    }
  }
  BITBUDGET_UNROLL
  for (int i = 0; i < kRows * kVectors; ++i) {
    StorePanel(c + i / kVectors * ldc + i % kVectors * kPanelLanes, acc[i]);
  }
}

template <int kRows, int kPanels>
BITBUDGET_INLINE void TileI16(const int16_t* a,
                              const float* a_scales,
                              int64_t a_scale_step,
                              const Int16Panels& b,
                              float* c,
                              int64_t ldc) {
  constexpr int kVectors = kPanels * kPanelVectors;
  const int16_t* codes = b.codes;
  const float* scales = b.scales;
  for (int64_t begin = 0; begin < b.padded_k; begin += b.flush, scales += kPanelWidth) {
    const int64_t left = b.padded_k - begin;
    const int64_t pairs = (left < b.flush ? left : b.flush) / 2;
    PanelI acc[kRows * kVectors];
    BITBUDGET_UNROLL
    for (int i = 0; i < kRows * kVectors; ++i) acc[i] = ZeroPanelI();
    for (int64_t i = 0; i < pairs; ++i, a += 2 * kTileRows, codes += 2 * kPanelWidth) {
      PrefetchAhead<kPanels>(codes, b.code_stride * sizeof(int16_t));
      PanelI w[kVectors];
      BITBUDGET_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        w[v] = LoadPairs(codes + v / kPanelVectors * b.code_stride +
                         v % kPanelVectors * (2 * kPanelLanes));
      }
      BITBUDGET_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const PanelI x = BroadcastPair(a + 2 * r);
        BITBUDGET_UNROLL
        for (int v = 0; v < kVectors; ++v) {
          acc[r * kVectors + v] = MulAddPairs(x, w[v], acc[r * kVectors + v]);
          Keep(acc[r * kVectors + v]);
        }
      }
    }
    // The float sums live in c (in the first-level cache): the registers hold the int32 sums.
    BITBUDGET_UNROLL
    for (int i = 0; i < kRows * kVectors; ++i) {
      const int v = i % kVectors;
      float* out = c + i / kVectors * ldc + v * kPanelLanes;
      const PanelF weight_scale =
          LoadPanel(scales + v / kPanelVectors * b.scale_stride + v % kPanelVectors * kPanelLanes);
      const PanelF scale = MulPanel(weight_scale, BroadcastPanel(a_scales + i / kVectors));
      const PanelF before = begin == 0 ? ZeroPanel() : LoadPanel(out);
      StorePanel(out, FmaPanel(ToFloatPanel(acc[i]), scale, before));
    }
    a_scales += a_scale_step;
  }
}

// sums = (or, with `add`, +=) the products of the next `inputs` inputs; moves `a` and `codes`
// behind them.
template <int kRows, int kPanels>
BITBUDGET_INLINE void SumQuads(int64_t inputs,
                               int64_t code_stride,
                               bool add,
                               const int8_t*& a,
                               const uint8_t*& codes,
                               PanelI* sums) {
  constexpr int kVectors = kPanels * kPanelVectors;
  PanelU acc[kRows * kVectors];
  BITBUDGET_UNROLL
  for (int i = 0; i < kRows * kVectors; ++i) acc[i] = ZeroPanelU();
  for (; inputs > 0; inputs -= 8, a += 8 * kTileRows, codes += 4 * kPanelWidth) {
    PrefetchAhead<kPanels>(codes, code_stride);
    BITBUDGET_UNROLL
    for (int half = 0; half < 2; ++half) {
      PanelI w[kVectors];
      BITBUDGET_UNROLL
      for (int v = 0; v < kVectors; ++v) {
        const uint8_t* at =
            codes + v / kPanelVectors * code_stride + v % kPanelVectors * (4 * kPanelLanes);
        w[v] = half == 0 ? LowNibbles(at) : HighNibbles(at);
      }
      BITBUDGET_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const PanelI x = BroadcastQuad(a + (half * kTileRows + r) * 4);
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
static_assert(kUint4FlushInputs == kInputPad || kUint4FlushInputs == kMaxFlush);

// kOnePart: groups have at most kUint4FlushInputs inputs. A tile with several parts keeps the int32
// sums of a group in memory; in one function with both, g++ 12 spills the accumulators too and
// takes a quarter of the speed.
template <int kRows, int kPanels, bool kOnePart>
BITBUDGET_INLINE void TileU4(const int8_t* a,
                             const float* a_scales,
                             const float* a_sums,
                             Uint4Panels b,
                             float* c,
                             int64_t ldc) {
  constexpr int kVectors = kPanels * kPanelVectors;
  PanelI sums[kRows * kVectors];
  BITBUDGET_UNROLL
  for (int i = 0; i < kRows * kVectors; ++i) sums[i] = ZeroPanelI();
  for (int64_t begin = 0; begin < b.padded_k; begin += b.group) {
    const int64_t end = begin + b.group < b.padded_k ? begin + b.group : b.padded_k;
    if constexpr (kOnePart) {
      SumQuads<kRows, kPanels>(end - begin, b.code_stride, /*add=*/false, a, b.codes, sums);
    } else {
      for (int64_t part = begin; part < end; part += kInputPad) {
        SumQuads<kRows, kPanels>(kInputPad, b.code_stride, part > begin, a, b.codes, sums);
      }
    }
    BITBUDGET_UNROLL
    for (int i = 0; i < kRows * kVectors; ++i) {
      const int r = i / kVectors;
      const int v = i % kVectors;
      const int64_t panel = v / kPanelVectors;
      const int lane = v % kPanelVectors * kPanelLanes;
      float* out = c + r * ldc + v * kPanelLanes;
      const PanelF sum = NegativeFmaPanel(LoadPanel(b.zeros + panel * b.zero_stride + lane),
                                          BroadcastPanel(a_sums + r),
                                          ToFloatPanel(sums[i]));
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

// All panels, as many at once as the tile takes, then the rest.
template <int kRows, int kPanels = PanelsAtOnce(kRows)>
void PanelsF32(const float* a,
               const float* b,
               int64_t b_stride,
               int64_t k,
               int64_t panels,
               bool accumulate,
               float* c,
               int64_t ldc) {
  for (; panels >= kPanels; panels -= kPanels) {
    TileF32<kRows, kPanels>(a, b, b_stride, k, accumulate, c, ldc);
    b += kPanels * b_stride;
    c += kPanels * kPanelWidth;
  }
  if constexpr (kPanels > 1) {
    PanelsF32<kRows, kPanels / 2>(a, b, b_stride, k, panels, accumulate, c, ldc);
  }
}

template <int kRows, int kPanels = PanelsAtOnce(kRows)>
void PanelsI16(const int16_t* a,
               const float* a_scales,
               int64_t a_scale_step,
               Int16Panels b,
               int64_t panels,
               float* c,
               int64_t ldc) {
  for (; panels >= kPanels; panels -= kPanels) {
    TileI16<kRows, kPanels>(a, a_scales, a_scale_step, b, c, ldc);
    b.codes += kPanels * b.code_stride;
    b.scales += kPanels * b.scale_stride;
    c += kPanels * kPanelWidth;
  }
  if constexpr (kPanels > 1) {
    PanelsI16<kRows, kPanels / 2>(a, a_scales, a_scale_step, b, panels, c, ldc);
  }
}

// Panels that the kUint4 tile works on at once.
constexpr int Uint4PanelsAtOnce(int rows) {
  return rows == 1 ? kUint4RowPanels : PanelsAtOnce(rows);
}

template <int kRows, bool kOnePart, int kPanels = Uint4PanelsAtOnce(kRows)>
void PanelsU4(const int8_t* a,
              const float* a_scales,
              const float* a_sums,
              Uint4Panels b,
              int64_t panels,
              float* c,
              int64_t ldc) {
  for (; panels >= kPanels; panels -= kPanels) {
    TileU4<kRows, kPanels, kOnePart>(a, a_scales, a_sums, b, c, ldc);
    b.codes += kPanels * b.code_stride;
    b.scales += kPanels * b.scale_stride;
    b.zeros += kPanels * b.zero_stride;
    c += kPanels * kPanelWidth;
  }
  if constexpr (kPanels > 1) {
    PanelsU4<kRows, kOnePart, kPanels / 2>(a, a_scales, a_sums, b, panels, c, ldc);
  }
}

void AnyTileF32(const float* a,
                const float* b,
                int64_t b_stride,
                int64_t k,
                int rows,
                int64_t panels,
                bool accumulate,
                float* c,
                int64_t ldc) {
  switch (rows) {
    case 1:
      return PanelsF32<1>(a, b, b_stride, k, panels, accumulate, c, ldc);
    case 2:
      return PanelsF32<2>(a, b, b_stride, k, panels, accumulate, c, ldc);
    case 3:
      return PanelsF32<3>(a, b, b_stride, k, panels, accumulate, c, ldc);
    case 4:
      return PanelsF32<4>(a, b, b_stride, k, panels, accumulate, c, ldc);
    case 5:
      return PanelsF32<5>(a, b, b_stride, k, panels, accumulate, c, ldc);
    case 6:
      return PanelsF32<6>(a, b, b_stride, k, panels, accumulate, c, ldc);
  }
}

void AnyTileI16(const int16_t* a,
                const float* a_scales,
                int64_t a_scale_step,
                const Int16Panels& b,
                int rows,
                int64_t panels,
                float* c,
                int64_t ldc) {
  switch (rows) {
    case 1:
      return PanelsI16<1>(a, a_scales, a_scale_step, b, panels, c, ldc);
    case 2:
      return PanelsI16<2>(a, a_scales, a_scale_step, b, panels, c, ldc);
    case 3:
      return PanelsI16<3>(a, a_scales, a_scale_step, b, panels, c, ldc);
    case 4:
      return PanelsI16<4>(a, a_scales, a_scale_step, b, panels, c, ldc);
    case 5:
      return PanelsI16<5>(a, a_scales, a_scale_step, b, panels, c, ldc);
    case 6:
      return PanelsI16<6>(a, a_scales, a_scale_step, b, panels, c, ldc);
  }
}

template <bool kOnePart>
void TileU4Rows(const int8_t* a,
                const float* a_scales,
                const float* a_sums,
                const Uint4Panels& b,
                int rows,
                int64_t panels,
                float* c,
                int64_t ldc) {
  switch (rows) {
    case 1:
      return PanelsU4<1, kOnePart>(a, a_scales, a_sums, b, panels, c, ldc);
    case 2:
      return PanelsU4<2, kOnePart>(a, a_scales, a_sums, b, panels, c, ldc);
    case 3:
      return PanelsU4<3, kOnePart>(a, a_scales, a_sums, b, panels, c, ldc);
    case 4:
      return PanelsU4<4, kOnePart>(a, a_scales, a_sums, b, panels, c, ldc);
    case 5:
      return PanelsU4<5, kOnePart>(a, a_scales, a_sums, b, panels, c, ldc);
    case 6:
      return PanelsU4<6, kOnePart>(a, a_scales, a_sums, b, panels, c, ldc);
  }
}

void AnyTileU4(const int8_t* a,
               const float* a_scales,
               const float* a_sums,
               const Uint4Panels& b,
               int rows,
               int64_t panels,
               float* c,
               int64_t ldc) {
  if constexpr (kUint4FlushInputs < kMaxFlush) {
    if (b.group > kUint4FlushInputs) {
      return TileU4Rows<false>(a, a_scales, a_sums, b, rows, panels, c, ldc);
    }
  }
  TileU4Rows<true>(a, a_scales, a_sums, b, rows, panels, c, ldc);
}

static_assert(kTileRows == 6, "the switches above list the rows of a tile");

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_GEMM_INL_H_
