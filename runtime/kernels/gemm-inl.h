#ifndef BITBUDGET_RUNTIME_KERNELS_GEMM_INL_H_
#define BITBUDGET_RUNTIME_KERNELS_GEMM_INL_H_

// The matrix bodies of float and int16. Included after a vec_*-inl.h, whose panel vectors decide
// how many vectors a panel of 16 outputs has and how many accumulators a tile may hold.

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
                              bool accumulate,
                              float* c,
                              int64_t ldc) {
  constexpr int kVectors = kPanels * kPanelVectors;
  const int16_t* codes = b.codes;
  const float* scales = b.scales;
  for (int64_t begin = 0; begin < b.inputs; begin += b.flush, scales += kPanelWidth) {
    const int64_t left = b.inputs - begin;
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
      const PanelF before = begin == 0 && !accumulate ? ZeroPanel() : LoadPanel(out);
      StorePanel(out, FmaPanel(ToFloatPanel(acc[i]), scale, before));
    }
    a_scales += a_scale_step;
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
               bool accumulate,
               float* c,
               int64_t ldc) {
  for (; panels >= kPanels; panels -= kPanels) {
    TileI16<kRows, kPanels>(a, a_scales, a_scale_step, b, accumulate, c, ldc);
    b.codes += kPanels * b.code_stride;
    b.scales += kPanels * b.scale_stride;
    c += kPanels * kPanelWidth;
  }
  if constexpr (kPanels > 1) {
    PanelsI16<kRows, kPanels / 2>(a, a_scales, a_scale_step, b, panels, accumulate, c, ldc);
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
                bool accumulate,
                float* c,
                int64_t ldc) {
  switch (rows) {
    case 1:
      return PanelsI16<1>(a, a_scales, a_scale_step, b, panels, accumulate, c, ldc);
    case 2:
      return PanelsI16<2>(a, a_scales, a_scale_step, b, panels, accumulate, c, ldc);
    case 3:
      return PanelsI16<3>(a, a_scales, a_scale_step, b, panels, accumulate, c, ldc);
    case 4:
      return PanelsI16<4>(a, a_scales, a_scale_step, b, panels, accumulate, c, ldc);
    case 5:
      return PanelsI16<5>(a, a_scales, a_scale_step, b, panels, accumulate, c, ldc);
    case 6:
      return PanelsI16<6>(a, a_scales, a_scale_step, b, panels, accumulate, c, ldc);
  }
}

static_assert(kTileRows == 6, "the switches above list the rows of a tile");

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_GEMM_INL_H_
