#ifndef BITBUDGET_RUNTIME_KERNELS_ROW_OPS_INL_H_
#define BITBUDGET_RUNTIME_KERNELS_ROW_OPS_INL_H_

// Norms, activations and softmax (KernelTable documents them). Included after math-inl.h.

#include <cstdint>

namespace bitbudget::BITBUDGET_TIER {
namespace {

void RmsNorm(const float* x, const float* weight, float eps, int64_t n, float* out) {
  D8 squares = SetD(0);
  for (int64_t i = 0; i < n; i += kLanes) {
    const D8 value = ToDouble(LoadAt(x, i, n, 0));
    squares = Add(squares, Mul(value, value));  // the product is exact
  }
  const double mean = Sum(squares) / static_cast<double>(n);
  const F8 factor = Set(static_cast<float>(1 / __builtin_sqrt(mean + static_cast<double>(eps))));
  for (int64_t i = 0; i < n; i += kLanes) {
    const F8 normed = Mul(LoadAt(x, i, n, 0), factor);
    StoreAt(out, i, n, Mul(normed, LoadAt(weight, i, n, 0)));
  }
}

void RotateHalf(float* x, const float* cos, const float* sin, int64_t half) {
  float* y = x + half;
  for (int64_t i = 0; i < half; i += kLanes) {
    const F8 a = LoadAt(x, i, half, 0);
    const F8 b = LoadAt(y, i, half, 0);
    const F8 c = LoadAt(cos, i, half, 0);
    const F8 s = LoadAt(sin, i, half, 0);
    StoreAt(x, i, half, Sub(Mul(a, c), Mul(b, s)));
    StoreAt(y, i, half, Add(Mul(b, c), Mul(a, s)));
  }
}

void SiluMul(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const F8 g = LoadAt(gate, i, n, 0);
    StoreAt(out, i, n, Mul(Mul(g, Sigmoid(g)), LoadAt(up, i, n, 0)));
  }
}

void GeluTanhMul(const float* gate, const float* up, int64_t n, float* out) {
  constexpr double kFactor = 1.5957691216057308;  // 2 sqrt(2 / pi)
  const F8 linear = Set(static_cast<float>(kFactor));
  const F8 cubic = Set(static_cast<float>(kFactor * 0.044715));
  for (int64_t i = 0; i < n; i += kLanes) {
    const F8 g = LoadAt(gate, i, n, 0);
    const F8 sigmoid = Sigmoid(Mul(g, Fma(Mul(g, g), cubic, linear)));
    StoreAt(out, i, n, Mul(Mul(g, sigmoid), LoadAt(up, i, n, 0)));
  }
}

void SoftCap(float* x, float scale, float cap, int64_t n) {
  const F8 factor = Set(scale / cap);
  for (int64_t i = 0; i < n; i += kLanes) {
    StoreAt(x, i, n, Mul(Set(cap), Tanh(Mul(LoadAt(x, i, n, 0), factor))));
  }
}

void Softmax(float* x, float scale, int64_t n) {
  const float kLowest = -__builtin_inff();
  F8 largest = Set(kLowest);
  for (int64_t i = 0; i < n; i += kLanes) {
    const F8 scaled = Mul(LoadAt(x, i, n, 0), Set(scale));
    StoreAt(x, i, n, scaled);
    largest = Max(largest, LoadAt(x, i, n, kLowest));
  }
  const F8 max = Set(Largest(largest));
  F8 sums = Set(0);
  for (int64_t i = 0; i < n; i += kLanes) {
    const F8 e = Exp(Sub(LoadAt(x, i, n, kLowest), max));
    StoreAt(x, i, n, e);
    sums = Add(sums, LoadAt(x, i, n, 0));
  }
  const F8 sum = Set(Sum(sums));
  for (int64_t i = 0; i < n; i += kLanes) StoreAt(x, i, n, Div(LoadAt(x, i, n, 0), sum));
}

double LogSumExp(const float* x, int64_t n) {
  const float kLowest = -__builtin_inff();
  if (n == 0) return kLowest;
  F8 largest = Set(kLowest);
  for (int64_t i = 0; i < n; i += kLanes) largest = Max(largest, LoadAt(x, i, n, kLowest));
  const float max = Largest(largest);
  D8 sums = SetD(0);
  for (int64_t i = 0; i < n; i += kLanes) {
    sums = Add(sums, ToDouble(Exp(Sub(LoadAt(x, i, n, kLowest), Set(max)))));
  }
  return static_cast<double>(max) + __builtin_log(Sum(sums));
}

double KlDivergence(
    const float* p_logits, double p_lse, const float* q_logits, double q_lse, int64_t n) {
  const float kLowest = -__builtin_inff();
  const D8 shift = SetD(p_lse - q_lse);
  D8 sums = SetD(0);
  for (int64_t i = 0; i < n; i += kLanes) {
    const D8 p = ToDouble(LoadAt(p_logits, i, n, kLowest));
    const D8 q = ToDouble(LoadAt(q_logits, i, n, 0));
    const D8 probability = ToDouble(Exp(ToFloat(Sub(p, SetD(p_lse)))));
    sums = Add(sums, MulUnlessZero(probability, Sub(Sub(p, q), shift)));
  }
  return Sum(sums);
}

}  // namespace
}  // namespace bitbudget::BITBUDGET_TIER

#endif  // BITBUDGET_RUNTIME_KERNELS_ROW_OPS_INL_H_
