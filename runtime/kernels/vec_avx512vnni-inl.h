#ifndef BITBUDGET_RUNTIME_KERNELS_VEC_AVX512VNNI_INL_H_
#define BITBUDGET_RUNTIME_KERNELS_VEC_AVX512VNNI_INL_H_

// Vector primitives of the AVX-512 VNNI tier: a panel of 16 outputs is one register. Row operations
// keep the eight lanes of AVX2, which define the order of their sums.

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "runtime/kernels/compiler-inl.h"
#include "runtime/kernels/lanes_avx2-inl.h"
#include "runtime/kernels/layout.h"

namespace bitbudget::BITBUDGET_TIER {
namespace {

using PanelF = __m512;
using PanelI = __m512i;
// For conversions and shifts of 32-bit lanes: g++ 12 warns about uninitialized operands inside its
// own intrinsics.
typedef int32_t SixteenInts __attribute__((vector_size(64)));
constexpr int kPanelLanes = 16;
// Of 32 registers: six rows x four panels, and beside them four weight vectors and a broadcast.
// Two FMA per cycle with a latency of four want at least eight independent sums.
constexpr int kAccumulators = 24;

BITBUDGET_INLINE PanelF ZeroPanel() { return _mm512_setzero_ps(); }
BITBUDGET_INLINE PanelF LoadPanel(const float* p) { return _mm512_loadu_ps(p); }
BITBUDGET_INLINE void StorePanel(float* p, PanelF a) { _mm512_storeu_ps(p, a); }
BITBUDGET_INLINE PanelF BroadcastPanel(const float* p) { return _mm512_set1_ps(*p); }
BITBUDGET_INLINE PanelF MulPanel(PanelF a, PanelF b) { return _mm512_mul_ps(a, b); }
BITBUDGET_INLINE PanelF FmaPanel(PanelF a, PanelF b, PanelF c) { return _mm512_fmadd_ps(a, b, c); }
BITBUDGET_INLINE PanelF NegativeFmaPanel(PanelF a, PanelF b, PanelF c) {
  return _mm512_fnmadd_ps(a, b, c);
}
BITBUDGET_INLINE PanelI ZeroPanelI() { return _mm512_setzero_si512(); }
BITBUDGET_INLINE PanelI LoadPairs(const int16_t* p) { return _mm512_loadu_si512(p); }
BITBUDGET_INLINE PanelI BroadcastInt(int32_t a) { return _mm512_set1_epi32(a); }
BITBUDGET_INLINE PanelI BroadcastPair(const int16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof(pair));
  return BroadcastInt(pair);
}
BITBUDGET_INLINE PanelI MulAddPairs(PanelI a, PanelI b, PanelI sum) {
  return _mm512_dpwssd_epi32(sum, a, b);
}
BITBUDGET_INLINE PanelI AddPanelI(PanelI a, PanelI b) { return _mm512_add_epi32(a, b); }

// vpdpbusd adds four products to an int32 at once.
using PanelU = __m512i;
constexpr int kInt8CodeBits = 8;
constexpr int kQuadFlushInputs = kMaxFlush;
constexpr int kInt8RowPanels = 4;  // the latency of vpdpbusd is four cycles

BITBUDGET_INLINE PanelU ZeroPanelU() { return _mm512_setzero_si512(); }
BITBUDGET_INLINE PanelI LoadQuads(const uint8_t* p) { return _mm512_loadu_si512(p); }
BITBUDGET_INLINE PanelI LowNibbles(const uint8_t* p) {
  return _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(0x0f));
}
BITBUDGET_INLINE PanelI HighNibbles(const uint8_t* p) {
  return _mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(p), 4), _mm512_set1_epi8(0x0f));
}
BITBUDGET_INLINE PanelI BroadcastQuad(const int8_t* p) {
  int32_t quad;
  std::memcpy(&quad, p, sizeof(quad));
  return BroadcastInt(quad);
}
BITBUDGET_INLINE PanelU MulAddQuads(PanelI codes, PanelI x, PanelU sum) {
  return _mm512_dpbusd_epi32(sum, codes, x);
}
BITBUDGET_INLINE PanelI WidenQuads(PanelU a) { return a; }
BITBUDGET_INLINE PanelI EvenBytes(PanelI quads) {
  return _mm512_and_si512(quads, _mm512_set1_epi16(0xff));
}
BITBUDGET_INLINE PanelI OddBytes(PanelI quads) { return _mm512_srli_epi16(quads, 8); }
BITBUDGET_INLINE PanelI SubPairs(PanelI a, PanelI b) { return _mm512_sub_epi16(a, b); }
BITBUDGET_INLINE void StorePairs(int16_t* p, PanelI a) { _mm512_storeu_si512(p, a); }
BITBUDGET_INLINE PanelI IntegerPairs(PanelF a) {
  const SixteenInts low = __builtin_convertvector(a, SixteenInts);
  return reinterpret_cast<PanelI>((low & 0xffff) | low << 16);
}
// vcvtdq2ps
BITBUDGET_INLINE PanelF ToFloatPanel(PanelI a) {
  return __builtin_convertvector(reinterpret_cast<SixteenInts>(a), PanelF);
}

// As in vec_avx2-inl.h.
BITBUDGET_INLINE void Keep(PanelF& a) { asm volatile("" : "+v"(a)); }
BITBUDGET_INLINE void Keep(PanelI& a) { asm volatile("" : "+v"(a)); }

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_VEC_AVX512VNNI_INL_H_
