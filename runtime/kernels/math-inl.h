#ifndef BITBUDGET_RUNTIME_KERNELS_MATH_INL_H_
#define BITBUDGET_RUNTIME_KERNELS_MATH_INL_H_

// Functions over the eight lanes of a row operation. Included after a vec_*-inl.h.

#include <cstdint>

#include "runtime/kernels/compiler-inl.h"

namespace bitbudget::BITBUDGET_TIER {
namespace {

constexpr int kLanes = 8;

// Adding this to |x| < 2^22 rounds x to the nearest integer, ties to even, and leaves that integer
// in the low bits of the sum.
constexpr float kRoundingShift = 0x1.8p23f;
constexpr int32_t kRoundingShiftBits = 0x4b400000;

BITBUDGET_INLINE I8 RoundToInt(F8 x) {
  return SubI(Bits(Add(x, Set(kRoundingShift))), SetI(kRoundingShiftBits));
}

// exp(x) for x <= 88; at most 1 ulp off. Results below 2^-126 are 0 (also exp(-inf)), NaN stays
// NaN.
BITBUDGET_INLINE F8 Exp(F8 x) {
  // x = n ln 2 + r. The first step is exact (x and n * high are multiples of 2^-24 for |x| >= 1/2,
  // and r is below 0.35), the second adds the rest of ln 2.
  const F8 shifted = Fma(x, Set(0x1.715476p+0f), Set(kRoundingShift));
  const F8 n = Sub(shifted, Set(kRoundingShift));
  F8 r = Fma(n, Set(-0x1.62e43p-1f), x);
  r = Fma(n, Set(0x1.05c61p-29f), r);
  // (exp(r) - 1 - r) / r^2 on [-ln 2 / 2, ln 2 / 2], minimax in the relative error of exp(r),
  // coefficients rounded to float: 0.02 * 2^-24.
  F8 p = Set(0x1.9f0816p-13f);
  p = Fma(p, r, Set(0x1.6d8db2p-10f));
  p = Fma(p, r, Set(0x1.111272p-7f));
  p = Fma(p, r, Set(0x1.55548ep-5f));
  p = Fma(p, r, Set(0x1.555554p-3f));
  p = Fma(p, r, Set(0.5f));
  p = Fma(p, Mul(r, r), r);
  p = Add(p, Set(1));
  // The exponent field of 2^n; the bits of the rounding shift fall off the left end.
  const F8 power = FromBits(ShiftLeft<23>(AddI(Bits(shifted), SetI(127))));
  return SelectLess(x, Set(-0x1.5d589ep+6f), Set(0), Mul(p, power));
}

BITBUDGET_INLINE F8 Abs(F8 x) { return FromBits(AndI(Bits(x), SetI(0x7fffffff))); }

// 1 / (1 + exp(-x)).
BITBUDGET_INLINE F8 Sigmoid(F8 x) {
  // 1 / (1 + e) or e / (1 + e) with e = exp(-|x|) <= 1: no overflow.
  const F8 e = Exp(Sub(Set(0), Abs(x)));
  return Div(SelectLess(x, Set(0), e, Set(1)), Add(Set(1), e));
}

// tanh(x), NaN stays NaN.
BITBUDGET_INLINE F8 Tanh(F8 x) {
  // (tanh(x) / x - 1) / x^2 on [-1/2, 1/2], interpolated at Chebyshev nodes of x^2, coefficients
  // rounded to float: 0.08 * 2^-24 relative in tanh(x).
  const F8 square = Mul(x, x);
  F8 p = Set(-0x1.c7033cp-8f);
  p = Fma(p, square, Set(0x1.5fc692p-6f));
  p = Fma(p, square, Set(-0x1.b9d2aep-5f));
  p = Fma(p, square, Set(0x1.111080p-3f));
  p = Fma(p, square, Set(-0x1.555554p-2f));
  const F8 small = Fma(Mul(x, square), p, x);
  // (1 - e) / (1 + e) with e = exp(-2|x|), where the difference keeps its digits.
  const F8 magnitude = Abs(x);
  const F8 e = Exp(Mul(magnitude, Set(-2)));
  const F8 large = Div(Sub(Set(1), e), Add(Set(1), e));
  const F8 with_sign = SelectLess(x, Set(0), Sub(Set(0), large), large);
  return SelectLess(magnitude, Set(0.5f), small, with_sign);
}

// x[i .. i + 8), lanes from n on are `fill`.
BITBUDGET_INLINE F8 LoadAt(const float* x, int64_t i, int64_t n, float fill) {
  if (i + kLanes <= n) return Load(x + i);
  float lanes[kLanes];
  for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = i + lane < n ? x[i + lane] : fill;
  return Load(lanes);
}

BITBUDGET_INLINE void StoreAt(float* x, int64_t i, int64_t n, F8 value) {
  if (i + kLanes <= n) return Store(x + i, value);
  float lanes[kLanes];
  Store(lanes, value);
  for (int lane = 0; i + lane < n; ++lane) x[i + lane] = lanes[lane];
}

BITBUDGET_INLINE float Sum(F8 a) {
  float s[kLanes];
  Store(s, a);
  return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

BITBUDGET_INLINE double Sum(D8 a) {
  double s[kLanes];
  Store(s, a);
  return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

BITBUDGET_INLINE float Largest(F8 a) {
  float s[kLanes];
  Store(s, a);
  float largest = s[0];
  for (int lane = 1; lane < kLanes; ++lane) largest = s[lane] > largest ? s[lane] : largest;
  return largest;
}

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_MATH_INL_H_
