#ifndef BITBUDGET_RUNTIME_KERNELS_VEC_PORTABLE_INL_H_
#define BITBUDGET_RUNTIME_KERNELS_VEC_PORTABLE_INL_H_

// Vector primitives of the portable tier, in plain C++. They define what the primitives of every
// tier compute, bit by bit: IEEE single and double precision, rounding to nearest even.

#include <cfloat>
#include <cstdint>
#include <cstring>

#include "runtime/kernels/compiler-inl.h"
#include "runtime/kernels/layout.h"

static_assert(FLT_EVAL_METHOD == 0, "float expressions must be evaluated in float");

namespace bitbudget::BITBUDGET_TIER {
namespace {

// Eight interleaved lanes of a row operation.
struct F8 {
  float v[8];
};
struct I8 {
  int32_t v[8];
};
struct D8 {
  double v[8];
};

#define BITBUDGET_LANES(type, expression)            \
  type out;                                          \
  for (int i = 0; i < 8; ++i) out.v[i] = expression; \
  return out

// Two doubles in one 16-byte vector of the compiler (g++ and clang have them on every CPU).
// Comparisons give lanes of 0 or -1. Written out because g++ 12 does not vectorise ExactFma by
// itself; it makes the f32 tile 1.4 times as fast (clang 14: twice).
typedef double Double2 __attribute__((vector_size(16)));
typedef int64_t Int2 __attribute__((vector_size(16)));
typedef float Float2 __attribute__((vector_size(8)));

BITBUDGET_INLINE Double2 Widen(const float* p) {
  Float2 a;
  std::memcpy(&a, p, sizeof(a));
  return __builtin_convertvector(a, Double2);
}

// out[i] = a[i] * b[i] + c[i] with one rounding, for two lanes. The product of two floats is exact
// in double. The sum is rounded to odd: when it is inexact and its last bit is even, it moves to
// its odd neighbour on the side of the error (TwoSum, Knuth). A value rounded to odd with 53 bits
// rounds to 24 bits, or to a float subnormal, as the exact value does (Boldo and Melquiond,
// "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", IEEE TC
// 57(4), 2008). Nothing overflows or underflows in double; with infinities or NaN the error is NaN,
// and nothing is adjusted.
BITBUDGET_INLINE void ExactFma(const float* a, const float* b, const float* c, float* out) {
  const Double2 product = Widen(a) * Widen(b);
  const Double2 addend = Widen(c);
  const Double2 sum = product + addend;
  const Double2 virtual_addend = sum - product;
  const Double2 error = (product - (sum - virtual_addend)) + (addend - virtual_addend);
  // The neighbour is one unit in the last place away: +1 when the error points away from zero.
  const Int2 direction = (error < 0) - (error > 0);
  const Int2 negative = sum < 0;
  Int2 bits = reinterpret_cast<Int2>(sum);
  bits += ((direction ^ negative) - negative) & ((bits & 1) - 1);
  const Double2 odd = reinterpret_cast<Double2>(bits);
  const Float2 rounded = __builtin_convertvector(odd, Float2);
  std::memcpy(out, &rounded, sizeof(rounded));
}

BITBUDGET_INLINE int32_t FloatBits(float a) {
  int32_t bits;
  std::memcpy(&bits, &a, sizeof(bits));
  return bits;
}
BITBUDGET_INLINE float BitsFloat(int32_t bits) {
  float a;
  std::memcpy(&a, &bits, sizeof(a));
  return a;
}
BITBUDGET_INLINE uint32_t Unsigned(int32_t a) { return static_cast<uint32_t>(a); }
BITBUDGET_INLINE int32_t Signed(uint32_t a) { return static_cast<int32_t>(a); }

BITBUDGET_INLINE F8 Load(const float* p) { BITBUDGET_LANES(F8, p[i]); }
BITBUDGET_INLINE void Store(float* p, const F8& a) { std::memcpy(p, a.v, sizeof(a.v)); }
BITBUDGET_INLINE F8 Set(float a) { BITBUDGET_LANES(F8, a); }
BITBUDGET_INLINE F8 Add(const F8& a, const F8& b) { BITBUDGET_LANES(F8, a.v[i] + b.v[i]); }
BITBUDGET_INLINE F8 Sub(const F8& a, const F8& b) { BITBUDGET_LANES(F8, a.v[i] - b.v[i]); }
BITBUDGET_INLINE F8 Mul(const F8& a, const F8& b) { BITBUDGET_LANES(F8, a.v[i] * b.v[i]); }
BITBUDGET_INLINE F8 Div(const F8& a, const F8& b) { BITBUDGET_LANES(F8, a.v[i] / b.v[i]); }
// b when either is NaN.
BITBUDGET_INLINE F8 Max(const F8& a, const F8& b) {
  BITBUDGET_LANES(F8, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
BITBUDGET_INLINE F8 Fma(const F8& a, const F8& b, const F8& c) {
  F8 out;
  for (int i = 0; i < 8; i += 2) ExactFma(a.v + i, b.v + i, c.v + i, out.v + i);
  return out;
}
// a < b ? yes : no; `no` when either is NaN.
BITBUDGET_INLINE F8 SelectLess(const F8& a, const F8& b, const F8& yes, const F8& no) {
  BITBUDGET_LANES(F8, a.v[i] < b.v[i] ? yes.v[i] : no.v[i]);
}

// 32-bit integers; sums and shifts wrap around.
BITBUDGET_INLINE I8 SetI(int32_t a) { BITBUDGET_LANES(I8, a); }
BITBUDGET_INLINE I8 AddI(const I8& a, const I8& b) {
  BITBUDGET_LANES(I8, Signed(Unsigned(a.v[i]) + Unsigned(b.v[i])));
}
BITBUDGET_INLINE I8 SubI(const I8& a, const I8& b) {
  BITBUDGET_LANES(I8, Signed(Unsigned(a.v[i]) - Unsigned(b.v[i])));
}
BITBUDGET_INLINE I8 AndI(const I8& a, const I8& b) { BITBUDGET_LANES(I8, a.v[i] & b.v[i]); }
BITBUDGET_INLINE I8 MaxI(const I8& a, const I8& b) {
  BITBUDGET_LANES(I8, a.v[i] > b.v[i] ? a.v[i] : b.v[i]);
}
template <int kBits>
BITBUDGET_INLINE I8 ShiftLeft(const I8& a) {
  BITBUDGET_LANES(I8, Signed(Unsigned(a.v[i]) << kBits));
}
BITBUDGET_INLINE I8 Bits(const F8& a) { BITBUDGET_LANES(I8, FloatBits(a.v[i])); }
BITBUDGET_INLINE F8 FromBits(const I8& a) { BITBUDGET_LANES(F8, BitsFloat(a.v[i])); }
BITBUDGET_INLINE void StoreI(int32_t* p, const I8& a) { std::memcpy(p, a.v, sizeof(a.v)); }
// Narrows 16 values that fit: in order, or to int16 in PairOrder.
BITBUDGET_INLINE void StoreCodes(int8_t* p, const I8& a, const I8& b) {
  for (int i = 0; i < 8; ++i) {
    p[i] = static_cast<int8_t>(a.v[i]);
    p[i + 8] = static_cast<int8_t>(b.v[i]);
  }
}
BITBUDGET_INLINE void StoreCodes(int16_t* p, const I8& a, const I8& b) {
  for (int i = 0; i < 8; ++i) {
    p[PairOrder(i)] = static_cast<int16_t>(a.v[i]);
    p[PairOrder(i) + 8] = static_cast<int16_t>(b.v[i]);
  }
}

BITBUDGET_INLINE D8 SetD(double a) { BITBUDGET_LANES(D8, a); }
BITBUDGET_INLINE D8 ToDouble(const F8& a) { BITBUDGET_LANES(D8, a.v[i]); }
BITBUDGET_INLINE F8 ToFloat(const D8& a) { BITBUDGET_LANES(F8, static_cast<float>(a.v[i])); }
BITBUDGET_INLINE D8 Add(const D8& a, const D8& b) { BITBUDGET_LANES(D8, a.v[i] + b.v[i]); }
BITBUDGET_INLINE D8 Sub(const D8& a, const D8& b) { BITBUDGET_LANES(D8, a.v[i] - b.v[i]); }
BITBUDGET_INLINE D8 Mul(const D8& a, const D8& b) { BITBUDGET_LANES(D8, a.v[i] * b.v[i]); }
// a * b, but +0 where a is zero, whatever b is.
BITBUDGET_INLINE D8 MulUnlessZero(const D8& a, const D8& b) {
  BITBUDGET_LANES(D8, a.v[i] == 0 ? 0.0 : a.v[i] * b.v[i]);
}
BITBUDGET_INLINE void Store(double* p, const D8& a) { std::memcpy(p, a.v, sizeof(a.v)); }

// The vectors of a panel's 16 outputs: kPanelLanes floats, or as many int32 sums of int16 pairs.
using PanelF = F8;
using PanelI = I8;
constexpr int kPanelLanes = 8;
constexpr int kAccumulators = 12;  // accumulators that a tile may hold

BITBUDGET_INLINE PanelF ZeroPanel() { return Set(0); }
BITBUDGET_INLINE PanelF LoadPanel(const float* p) { return Load(p); }
BITBUDGET_INLINE void StorePanel(float* p, const PanelF& a) { Store(p, a); }
BITBUDGET_INLINE PanelF BroadcastPanel(const float* p) { return Set(*p); }
BITBUDGET_INLINE PanelF MulPanel(const PanelF& a, const PanelF& b) { return Mul(a, b); }
BITBUDGET_INLINE PanelF FmaPanel(const PanelF& a, const PanelF& b, const PanelF& c) {
  return Fma(a, b, c);
}
// c - a * b with one rounding
BITBUDGET_INLINE PanelF NegativeFmaPanel(const PanelF& a, const PanelF& b, const PanelF& c) {
  return Fma(Sub(Set(0), a), b, c);
}
BITBUDGET_INLINE PanelI ZeroPanelI() { return SetI(0); }
// A lane of these holds two int16: an even input in the low half, its odd neighbour in the high.
BITBUDGET_INLINE PanelI LoadPairs(const int16_t* p) {
  PanelI out;
  std::memcpy(out.v, p, sizeof(out.v));
  return out;
}
BITBUDGET_INLINE PanelI BroadcastInt(int32_t a) { return SetI(a); }
BITBUDGET_INLINE PanelI BroadcastPair(const int16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof(pair));
  return BroadcastInt(pair);
}
BITBUDGET_INLINE int32_t LowHalf(int32_t pair) { return static_cast<int16_t>(pair & 0xffff); }
BITBUDGET_INLINE int32_t HighHalf(int32_t pair) { return pair >> 16; }
// sum + a.low * b.low + a.high * b.high
BITBUDGET_INLINE PanelI MulAddPairs(const PanelI& a, const PanelI& b, const PanelI& sum) {
  BITBUDGET_LANES(
      PanelI, sum.v[i] + (LowHalf(a.v[i]) * LowHalf(b.v[i]) + HighHalf(a.v[i]) * HighHalf(b.v[i])));
}
BITBUDGET_INLINE PanelI AddPanelI(const PanelI& a, const PanelI& b) { return AddI(a, b); }

// Sums of products of four unsigned with four signed bytes. How many inputs they may hold before
// WidenQuads makes int32 of them depends on the tier.
using PanelU = I8;
constexpr int kInt8CodeBits = 8;  // the widest unsigned codes
constexpr int kQuadFlushInputs = kMaxFlush;
// Panels that a tile of one row works on at once.
constexpr int kInt8RowPanels = 1;

BITBUDGET_INLINE PanelU ZeroPanelU() { return SetI(0); }
// A lane of p holds four bytes, one input each.
BITBUDGET_INLINE PanelI LoadQuads(const uint8_t* p) {
  PanelI out;
  std::memcpy(out.v, p, sizeof(out.v));
  return out;
}
// A lane of p holds four bytes with two inputs each; the first four inputs are the low nibbles.
BITBUDGET_INLINE PanelI LowNibbles(const uint8_t* p) {
  const PanelI both = LoadQuads(p);
  BITBUDGET_LANES(PanelI, both.v[i] & 0x0f0f0f0f);
}
BITBUDGET_INLINE PanelI HighNibbles(const uint8_t* p) {
  const PanelI both = LoadQuads(p);
  BITBUDGET_LANES(PanelI, (both.v[i] >> 4) & 0x0f0f0f0f);
}
BITBUDGET_INLINE PanelI BroadcastQuad(const int8_t* p) {
  int32_t quad;
  std::memcpy(&quad, p, sizeof(quad));
  return BroadcastInt(quad);
}
template <int kByte>
BITBUDGET_INLINE int32_t ByteProduct(int32_t codes, int32_t x) {
  return ((codes >> (8 * kByte)) & 0xff) * static_cast<int8_t>((x >> (8 * kByte)) & 0xff);
}
// sum + the four products of unsigned codes and signed x
BITBUDGET_INLINE PanelU MulAddQuads(const PanelI& codes, const PanelI& x, const PanelU& sum) {
  BITBUDGET_LANES(
      PanelU,
      sum.v[i] + (ByteProduct<0>(codes.v[i], x.v[i]) + ByteProduct<1>(codes.v[i], x.v[i]) +
                  ByteProduct<2>(codes.v[i], x.v[i]) + ByteProduct<3>(codes.v[i], x.v[i])));
}
BITBUDGET_INLINE PanelI WidenQuads(const PanelU& a) { return a; }
BITBUDGET_INLINE PanelF ToFloatPanel(const PanelI& a) {
  BITBUDGET_LANES(PanelF, static_cast<float>(a.v[i]));
}
// Bytes 0 and 2, or 1 and 3, of every lane as pairs.
BITBUDGET_INLINE PanelI EvenBytes(const PanelI& quads) {
  BITBUDGET_LANES(PanelI, quads.v[i] & 0x00ff00ff);
}
BITBUDGET_INLINE PanelI OddBytes(const PanelI& quads) {
  BITBUDGET_LANES(PanelI, (quads.v[i] >> 8) & 0x00ff00ff);
}
BITBUDGET_INLINE int32_t Pair(int32_t low, int32_t high) {
  return Signed((Unsigned(low) & 0xffff) | Unsigned(high) << 16);
}
BITBUDGET_INLINE PanelI SubPairs(const PanelI& a, const PanelI& b) {
  BITBUDGET_LANES(PanelI,
                  Pair(LowHalf(a.v[i]) - LowHalf(b.v[i]), HighHalf(a.v[i]) - HighHalf(b.v[i])));
}
BITBUDGET_INLINE void StorePairs(int16_t* p, const PanelI& a) { std::memcpy(p, a.v, sizeof(a.v)); }
// Integers of less than 16 bits, twice in every lane.
BITBUDGET_INLINE PanelI IntegerPairs(const PanelF& a) {
  BITBUDGET_LANES(PanelI, Pair(static_cast<int32_t>(a.v[i]), static_cast<int32_t>(a.v[i])));
}
// Hints without a result; vec_avx2-inl.h says what for.
BITBUDGET_INLINE void Prefetch(uintptr_t) {}
BITBUDGET_INLINE void Keep(PanelF&) {}
BITBUDGET_INLINE void Keep(PanelI&) {}

#undef BITBUDGET_LANES

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_VEC_PORTABLE_INL_H_
