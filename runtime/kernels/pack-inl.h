#ifndef BITBUDGET_RUNTIME_KERNELS_PACK_INL_H_
#define BITBUDGET_RUNTIME_KERNELS_PACK_INL_H_

// Activations into 6-row blocks. Included after math-inl.h.

#include <cstdint>

#include "runtime/kernels/compiler-inl.h"
#include "runtime/kernels/layout.h"

namespace bitbudget::BITBUDGET_TIER {
namespace {

void PackF32(const float* x, int64_t ldx, int rows, int64_t k, int64_t padded_k, float* block) {
  for (int64_t i = 0; i < padded_k; i += kLanes) {
    float lanes[kTileRows][kLanes];
    BITBUDGET_UNROLL
    for (int r = 0; r < kTileRows; ++r) {
      Store(lanes[r], r < rows && i < k ? LoadAt(x + r * ldx, i, k, 0) : Set(0));
    }
    for (int lane = 0; lane < kLanes && i + lane < padded_k; ++lane) {
      BITBUDGET_UNROLL
      for (int r = 0; r < kTileRows; ++r) *block++ = lanes[r][lane];
    }
  }
}

// 32767 / absmax of a row, or 0 when its codes are all zero; `scale` as KernelTable documents it.
inline float RowInt16Scale(const float* x, int64_t k, float* scale) {
  // As integers, the bits of non-negative floats are ordered like the floats, then come infinity
  // and the NaNs.
  const I8 magnitude = SetI(0x7fffffff);
  I8 largest = SetI(0);
  for (int64_t i = 0; i < k; i += kLanes) {
    largest = MaxI(largest, AndI(Bits(LoadAt(x, i, k, 0)), magnitude));
  }
  int32_t lanes[kLanes];
  StoreI(lanes, largest);
  int32_t bits = 0;
  for (int lane = 0; lane < kLanes; ++lane) bits = lanes[lane] > bits ? lanes[lane] : bits;
  float absmax;
  __builtin_memcpy(&absmax, &bits, sizeof(absmax));

  *scale = 0;
  if (absmax < 0x1p-100f) return 0;  // 32767 / absmax might overflow
  *scale = __builtin_nanf("");
  if (bits >= 0x7f800000) return 0;
  constexpr float kLargestCode = kMaxActivationCode;
  *scale = absmax / kLargestCode;
  return kLargestCode / absmax;
}

void PackI16(const float* x,
             int64_t ldx,
             int rows,
             int64_t k,
             int64_t padded_k,
             int16_t* block,
             float* scales) {
  float inverse[kTileRows] = {};
  for (int r = 0; r < kTileRows; ++r) {
    scales[r] = 0;
    if (r < rows) inverse[r] = RowInt16Scale(x + r * ldx, k, &scales[r]);
  }
  constexpr int kStep = 2 * kLanes;
  for (int64_t i = 0; i < padded_k; i += kStep) {
    int16_t codes[kTileRows][kStep];
    for (int r = 0; r < kTileRows; ++r) {
      I8 low = SetI(0);
      I8 high = SetI(0);
      if (inverse[r] != 0 && i < k) {
        // |x * inverse| <= 32767 (1 + 2^-23), so a code never exceeds 32767.
        const float* row = x + r * ldx;
        low = RoundToInt(Mul(LoadAt(row, i, k, 0), Set(inverse[r])));
        if (i + kLanes < k) {
          high = RoundToInt(Mul(LoadAt(row, i + kLanes, k, 0), Set(inverse[r])));
        }
      }
      StoreI16(codes[r], low, high);
    }
    for (int lane = 0; lane < kStep; lane += 2) {
      BITBUDGET_UNROLL
      for (int r = 0; r < kTileRows; ++r, block += 2) {
        __builtin_memcpy(block, &codes[r][lane], 2 * sizeof(int16_t));
      }
    }
  }
}

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_PACK_INL_H_
