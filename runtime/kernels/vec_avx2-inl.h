#ifndef BITBUDGET_RUNTIME_KERNELS_VEC_AVX2_INL_H_
#define BITBUDGET_RUNTIME_KERNELS_VEC_AVX2_INL_H_

// Vector primitives of the AVX2 tier: the operations of vec_portable-inl.h, which defines what each
// of them means, as instructions.

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "runtime/kernels/compiler-inl.h"
#include "runtime/kernels/lanes_avx2-inl.h"
#include "runtime/kernels/layout.h"

namespace bitbudget::BITBUDGET_TIER {
namespace {

// The vectors of a panel's 16 outputs.
using PanelF = __m256;
using PanelI = __m256i;
constexpr int kPanelLanes = 8;
constexpr int kAccumulators = 12;  // of 16 registers; see kTileRows

BITBUDGET_INLINE PanelF ZeroPanel() { return _mm256_setzero_ps(); }
BITBUDGET_INLINE PanelF LoadPanel(const float* p) { return _mm256_loadu_ps(p); }
BITBUDGET_INLINE void StorePanel(float* p, PanelF a) { _mm256_storeu_ps(p, a); }
BITBUDGET_INLINE PanelF BroadcastPanel(const float* p) { return _mm256_broadcast_ss(p); }
BITBUDGET_INLINE PanelF MulPanel(PanelF a, PanelF b) { return _mm256_mul_ps(a, b); }
BITBUDGET_INLINE PanelF FmaPanel(PanelF a, PanelF b, PanelF c) { return _mm256_fmadd_ps(a, b, c); }
BITBUDGET_INLINE PanelF NegativeFmaPanel(PanelF a, PanelF b, PanelF c) {
  return _mm256_fnmadd_ps(a, b, c);
}
BITBUDGET_INLINE PanelI ZeroPanelI() { return _mm256_setzero_si256(); }
BITBUDGET_INLINE PanelI LoadPairs(const int16_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
BITBUDGET_INLINE PanelI BroadcastInt(int32_t a) { return _mm256_set1_epi32(a); }
BITBUDGET_INLINE PanelI BroadcastPair(const int16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof(pair));
  return BroadcastInt(pair);
}
BITBUDGET_INLINE PanelI MulAddPairs(PanelI a, PanelI b, PanelI sum) {
  // sum + madd(a, b). With the intrinsic, g++ 12 adds into another register and moves it back.
  asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(_mm256_madd_epi16(a, b)));
  return sum;
}
BITBUDGET_INLINE PanelF ToFloatPanel(PanelI a) { return _mm256_cvtepi32_ps(a); }
BITBUDGET_INLINE PanelI AddPanelI(PanelI a, PanelI b) { return _mm256_add_epi32(a, b); }

// 16 int16 sums of pairs of products. A pair is at most 2 * 15 * 127, so vpmaddubsw does not
// saturate, and eight of them (32 inputs) stay below 2^15.
using PanelU = __m256i;
// Sums of pairs of 8-bit codes would saturate. What avoids it (the products of nibbles apart, or
// magnitudes with signs moved to the activations) takes as many instructions as int16 products.
constexpr int kInt8CodeBits = 4;
constexpr int kQuadFlushInputs = 32;
// The latency of these sums is one cycle, so two vectors hide it: a single row takes panels one by
// one, as one stream from memory (half as fast again as four, int4-g32 from memory on a Zen 5).
constexpr int kInt8RowPanels = 1;
static_assert(kQuadFlushInputs / 4 * 2 * kMaxUint4Code * kMaxInt8Code < 1 << 15);

BITBUDGET_INLINE PanelU ZeroPanelU() { return _mm256_setzero_si256(); }
// The mask is a memory operand and both halves load the codes: a tile of 12 sums has no register
// for either, and g++ 12 with intrinsics keeps them and spills all sums (takes a quarter of the
// speed).
alignas(32) constexpr uint64_t kNibbleMask[4] = {
    0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f};

BITBUDGET_INLINE PanelI LoadQuads(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
BITBUDGET_INLINE PanelI LowNibbles(const uint8_t* p) {
  PanelI out;
  asm("vmovdqu %1, %0\n\tvpand %2, %0, %0"
      : "=x"(out)
      : "m"(*reinterpret_cast<const __m256i_u*>(p)), "m"(kNibbleMask));
  return out;
}
BITBUDGET_INLINE PanelI HighNibbles(const uint8_t* p) {
  PanelI out;
  asm("vmovdqu %1, %0\n\tvpsrlw $4, %0, %0\n\tvpand %2, %0, %0"
      : "=x"(out)
      : "m"(*reinterpret_cast<const __m256i_u*>(p)), "m"(kNibbleMask));
  return out;
}
BITBUDGET_INLINE PanelI BroadcastQuad(const int8_t* p) {
  int32_t quad;
  std::memcpy(&quad, p, sizeof(quad));
  return BroadcastInt(quad);
}
BITBUDGET_INLINE PanelU MulAddQuads(PanelI codes, PanelI x, PanelU sum) {
  asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(_mm256_maddubs_epi16(codes, x)));  // as MulAddPairs
  return sum;
}
BITBUDGET_INLINE PanelI WidenQuads(PanelU a) { return _mm256_madd_epi16(a, _mm256_set1_epi16(1)); }

BITBUDGET_INLINE PanelI EvenBytes(PanelI quads) {
  return _mm256_and_si256(quads, _mm256_set1_epi16(0xff));
}
BITBUDGET_INLINE PanelI OddBytes(PanelI quads) { return _mm256_srli_epi16(quads, 8); }
BITBUDGET_INLINE PanelI SubPairs(PanelI a, PanelI b) { return _mm256_sub_epi16(a, b); }
BITBUDGET_INLINE void StorePairs(int16_t* p, PanelI a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a);
}
BITBUDGET_INLINE PanelI IntegerPairs(PanelF a) {
  const PanelI low = _mm256_cvtps_epi32(a);
  return _mm256_or_si256(_mm256_and_si256(low, _mm256_set1_epi32(0xffff)),
                         _mm256_slli_epi32(low, 16));
}

// Pins the accumulator to a register at this point of the program. Without it g++ 12 hoists all
// broadcasts of a step above its multiplies and spills accumulators (halves the speed of the int16
// tile).
BITBUDGET_INLINE void Keep(PanelF& a) { asm volatile("" : "+x"(a)); }
BITBUDGET_INLINE void Keep(PanelI& a) { asm volatile("" : "+x"(a)); }

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_VEC_AVX2_INL_H_
