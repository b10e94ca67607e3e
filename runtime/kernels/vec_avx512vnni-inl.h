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
BITBUDGET_INLINE PanelI BroadcastPair(const int16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof(pair));
  return _mm512_set1_epi32(pair);
}
BITBUDGET_INLINE PanelI MulAddPairs(PanelI a, PanelI b, PanelI sum) {
  return _mm512_dpwssd_epi32(sum, a, b);
}
BITBUDGET_INLINE PanelI AddPanelI(PanelI a, PanelI b) { return _mm512_add_epi32(a, b); }

// vpdpbusd adds four products to an int32 at once.
using PanelU = __m512i;
constexpr int kUint4FlushInputs = kMaxFlush;
constexpr int kUint4RowPanels = 4;  // the latency of vpdpbusd is four cycles

BITBUDGET_INLINE PanelU ZeroPanelU() { return _mm512_setzero_si512(); }
BITBUDGET_INLINE PanelI LowNibbles(const uint8_t* p) {
  return _mm512_and_si512(_mm512_loadu_si512(p), _mm512_set1_epi8(0x0f));
}
BITBUDGET_INLINE PanelI HighNibbles(const uint8_t* p) {
  return _mm512_and_si512(_mm512_srli_epi16(_mm512_loadu_si512(p), 4), _mm512_set1_epi8(0x0f));
}
BITBUDGET_INLINE PanelI BroadcastQuad(const int8_t* p) {
  int32_t quad;
  std::memcpy(&quad, p, sizeof(quad));
  return _mm512_set1_epi32(quad);
}
BITBUDGET_INLINE PanelU MulAddQuads(PanelI codes, PanelI x, PanelU sum) {
  return _mm512_dpbusd_epi32(sum, codes, x);
}
BITBUDGET_INLINE PanelI WidenQuads(PanelU a) { return a; }
// vcvtdq2ps; g++ 12 warns about an uninitialized operand inside its own _mm512_cvtepi32_ps.
BITBUDGET_INLINE PanelF ToFloatPanel(PanelI a) {
  typedef int32_t Int16Lanes __attribute__((vector_size(64)));
  return __builtin_convertvector(reinterpret_cast<Int16Lanes>(a), PanelF);
}

// As in vec_avx2-inl.h.
BITBUDGET_INLINE void Keep(PanelF& a) { asm volatile("" : "+v"(a)); }
BITBUDGET_INLINE void Keep(PanelI& a) { asm volatile("" : "+v"(a)); }

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_VEC_AVX512VNNI_INL_H_
