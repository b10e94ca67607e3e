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

// max_code / absmax of x[0 .. k), or 0 when its codes are all zero; `scale` as KernelTable
// documents it.
inline float CodesPerUnit(const float* x, int64_t k, float max_code, float* scale) {
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
  if (absmax < 0x1p-100f) return 0;  // max_code / absmax might overflow
  *scale = __builtin_nanf("");
  if (bits >= 0x7f800000) return 0;
  *scale = absmax / max_code;
  return max_code / absmax;
}

// Codes of 6 rows, four bytes of every row side by side: i16[k / 2][6][2] in PairOrder, or
// i8[k / 4][6][4].
// `sums` may be null.
template <typename Code>
BITBUDGET_INLINE void PackCodes(const float* x,
                                int64_t ldx,
                                int rows,
                                int64_t k,
                                int64_t padded_k,
                                int64_t group,
                                int max_code,
                                Code* block,
                                float* scales,
                                float* sums) {
  constexpr int kStep = kCodeStep;
  static_assert(kStep == 2 * kLanes);
  constexpr int kTogether = 4 / sizeof(Code);
  for (int64_t begin = 0; begin < padded_k; begin += group, scales += kTileRows) {
    const int64_t end = begin + group < padded_k ? begin + group : padded_k;
    const int64_t stop = k < end ? k : end;  // where the row's inputs of this group end
    float inverse[kTileRows] = {};
    I8 totals[kTileRows];
    for (int r = 0; r < kTileRows; ++r) {
      totals[r] = SetI(0);
      scales[r] = 0;
      if (r < rows && begin < stop) {
        inverse[r] = CodesPerUnit(
            x + r * ldx + begin, stop - begin, static_cast<float>(max_code), &scales[r]);
      }
    }
    for (int64_t i = begin; i < end; i += kStep) {
      Code codes[kTileRows][kStep];
      for (int r = 0; r < kTileRows; ++r) {
        I8 low = SetI(0);
        I8 high = SetI(0);
        if (inverse[r] != 0 && i < stop) {
          // |x * inverse| <= max_code (1 + 2^-23), so a code never exceeds max_code.
          const float* row = x + r * ldx;
          low = RoundToInt(Mul(LoadAt(row, i, stop, 0), Set(inverse[r])));
          if (i + kLanes < stop) {
            high = RoundToInt(Mul(LoadAt(row, i + kLanes, stop, 0), Set(inverse[r])));
          }
        }
        totals[r] = AddI(totals[r], AddI(low, high));
        StoreCodes(codes[r], low, high);
      }
      for (int lane = 0; lane < kStep; lane += kTogether) {
        BITBUDGET_UNROLL
        for (int r = 0; r < kTileRows; ++r, block += kTogether) {
          __builtin_memcpy(block, &codes[r][lane], 4);
        }
      }
    }
    if (sums == nullptr) continue;
    for (int r = 0; r < kTileRows; ++r) {
      int32_t lanes[kLanes];
      StoreI(lanes, totals[r]);
      int32_t sum = 0;
      for (int lane = 0; lane < kLanes; ++lane) sum += lanes[lane];
      *sums++ = static_cast<float>(sum);
    }
  }
}

void PackI16(const float* x,
             int64_t ldx,
             int rows,
             int64_t k,
             int64_t padded_k,
             int64_t group,
             int max_code,
             int16_t* block,
             float* scales) {
  PackCodes(x, ldx, rows, k, padded_k, group, max_code, block, scales, nullptr);
}

void PackI8(const float* x,
            int64_t ldx,
            int rows,
            int64_t k,
            int64_t padded_k,
            int64_t group,
            int8_t* block,
            float* scales,
            float* sums) {
  PackCodes(x, ldx, rows, k, padded_k, group, kMaxInt8Code, block, scales, sums);
}

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_PACK_INL_H_
