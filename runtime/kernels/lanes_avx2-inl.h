#ifndef BITBUDGET_RUNTIME_KERNELS_LANES_AVX2_INL_H_
#define BITBUDGET_RUNTIME_KERNELS_LANES_AVX2_INL_H_

// The eight lanes of a row operation as AVX2 registers, for every tier that has AVX2:
// vec_portable-inl.h defines what each operation means.

#include <immintrin.h>

#include <cstdint>

#include "runtime/kernels/compiler-inl.h"

namespace bitbudget::BITBUDGET_TIER {
namespace {

using F8 = __m256;
using I8 = __m256i;
struct D8 {
  __m256d lo, hi;
};

BITBUDGET_INLINE F8 Load(const float* p) { return _mm256_loadu_ps(p); }
BITBUDGET_INLINE void Store(float* p, F8 a) { _mm256_storeu_ps(p, a); }
BITBUDGET_INLINE F8 Set(float a) { return _mm256_set1_ps(a); }
BITBUDGET_INLINE F8 Add(F8 a, F8 b) { return _mm256_add_ps(a, b); }
BITBUDGET_INLINE F8 Sub(F8 a, F8 b) { return _mm256_sub_ps(a, b); }
BITBUDGET_INLINE F8 Mul(F8 a, F8 b) { return _mm256_mul_ps(a, b); }
BITBUDGET_INLINE F8 Div(F8 a, F8 b) { return _mm256_div_ps(a, b); }
BITBUDGET_INLINE F8 Max(F8 a, F8 b) { return _mm256_max_ps(a, b); }
BITBUDGET_INLINE F8 Fma(F8 a, F8 b, F8 c) { return _mm256_fmadd_ps(a, b, c); }
BITBUDGET_INLINE F8 SelectLess(F8 a, F8 b, F8 yes, F8 no) {
  return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}

BITBUDGET_INLINE I8 SetI(int32_t a) { return _mm256_set1_epi32(a); }
BITBUDGET_INLINE I8 AddI(I8 a, I8 b) { return _mm256_add_epi32(a, b); }
BITBUDGET_INLINE I8 SubI(I8 a, I8 b) { return _mm256_sub_epi32(a, b); }
BITBUDGET_INLINE I8 AndI(I8 a, I8 b) { return _mm256_and_si256(a, b); }
BITBUDGET_INLINE I8 MaxI(I8 a, I8 b) { return _mm256_max_epi32(a, b); }
template <int kBits>
BITBUDGET_INLINE I8 ShiftLeft(I8 a) {
  return _mm256_slli_epi32(a, kBits);
}
BITBUDGET_INLINE I8 Bits(F8 a) { return _mm256_castps_si256(a); }
BITBUDGET_INLINE F8 FromBits(I8 a) { return _mm256_castsi256_ps(a); }
BITBUDGET_INLINE void StoreI(int32_t* p, I8 a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a);
}
BITBUDGET_INLINE __m256i Narrow(I8 a, I8 b) {
  const __m256i halves = _mm256_packs_epi32(a, b);  // a0-3 b0-3 a4-7 b4-7
  return _mm256_permute4x64_epi64(halves, 0xd8);
}
BITBUDGET_INLINE void StoreCodes(int16_t* p, I8 a, I8 b) {
  constexpr int kPairOrder = _MM_SHUFFLE(3, 1, 2, 0);
  const __m256i low = _mm256_shufflelo_epi16(Narrow(a, b), kPairOrder);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_shufflehi_epi16(low, kPairOrder));
}
BITBUDGET_INLINE void StoreCodes(int8_t* p, I8 a, I8 b) {
  const __m256i pairs = Narrow(a, b);
  _mm_storeu_si128(
      reinterpret_cast<__m128i*>(p),
      _mm_packs_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1)));
}

BITBUDGET_INLINE D8 SetD(double a) { return {_mm256_set1_pd(a), _mm256_set1_pd(a)}; }
BITBUDGET_INLINE D8 ToDouble(F8 a) {
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(a)), _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1))};
}
BITBUDGET_INLINE F8 ToFloat(D8 a) {
  return _mm256_set_m128(_mm256_cvtpd_ps(a.hi), _mm256_cvtpd_ps(a.lo));
}
BITBUDGET_INLINE D8 Add(D8 a, D8 b) {
  return {_mm256_add_pd(a.lo, b.lo), _mm256_add_pd(a.hi, b.hi)};
}
BITBUDGET_INLINE D8 Sub(D8 a, D8 b) {
  return {_mm256_sub_pd(a.lo, b.lo), _mm256_sub_pd(a.hi, b.hi)};
}
BITBUDGET_INLINE D8 Mul(D8 a, D8 b) {
  return {_mm256_mul_pd(a.lo, b.lo), _mm256_mul_pd(a.hi, b.hi)};
}
BITBUDGET_INLINE __m256d MulUnlessZero(__m256d a, __m256d b) {
  const __m256d nonzero = _mm256_cmp_pd(a, _mm256_setzero_pd(), _CMP_NEQ_UQ);
  return _mm256_and_pd(_mm256_mul_pd(a, b), nonzero);
}
BITBUDGET_INLINE D8 MulUnlessZero(D8 a, D8 b) {
  return {MulUnlessZero(a.lo, b.lo), MulUnlessZero(a.hi, b.hi)};
}
BITBUDGET_INLINE void Store(double* p, D8 a) {
  _mm256_storeu_pd(p, a.lo);
  _mm256_storeu_pd(p + 4, a.hi);
}

// Any address is allowed: a prefetch never faults.
BITBUDGET_INLINE void Prefetch(uintptr_t address) {
  _mm_prefetch(reinterpret_cast<const char*>(address), _MM_HINT_T0);
}

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_LANES_AVX2_INL_H_
