// Norms, activations and softmax: every tier against every other bit for bit, and against double.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <numbers>
#include <vector>

#include "runtime/kernels/table.h"
#include "tests/kernels/kernel_test_util.h"
#include "tests/kernels/reference.h"

namespace bitbudget {
namespace {

const float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<int64_t> Sizes() { return {1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 100, 1000}; }

// Runs `op` on every tier, expects equal bits, and returns the result.
std::vector<float> OnEveryTier(const std::function<std::vector<float>(const KernelTable&)>& op) {
  const std::vector<float> first = op(*AvailableKernels().front());
  for (const KernelTable* kernels : AvailableKernels()) {
    EXPECT_TRUE(SameBits(op(*kernels), first)) << kernels->name;
  }
  return first;
}

double OnEveryTier(const std::function<double(const KernelTable&)>& op) {
  const double first = op(*AvailableKernels().front());
  for (const KernelTable* kernels : AvailableKernels()) {
    const double value = op(*kernels);
    EXPECT_TRUE(value == first || (std::isnan(value) && std::isnan(first)))
        << kernels->name << ": " << value << " and " << first;
  }
  return first;
}

std::vector<float> Softmax(const std::vector<float>& x, float scale) {
  return OnEveryTier([&](const KernelTable& kernels) {
    std::vector<float> out = x;
    out.push_back(7);
    kernels.softmax(out.data(), scale, x.size());
    EXPECT_EQ(out.back(), 7) << "wrote past the row";
    out.pop_back();
    return out;
  });
}

double LogSumExp(const std::vector<float>& x) {
  return OnEveryTier([&](const KernelTable& k) { return k.log_sum_exp(x.data(), x.size()); });
}

double Kl(const std::vector<float>& p, const std::vector<float>& q) {
  const double p_lse = LogSumExp(p);
  const double q_lse = LogSumExp(q);
  return OnEveryTier([&](const KernelTable& k) {
    return k.kl_divergence(p.data(), p_lse, q.data(), q_lse, p.size());
  });
}

// log_sum_exp and softmax of two values show exp itself: exp(x - 0) / (1 + exp(x)) and so on. The
// KL table entry shows it directly: with q = p - 1 and equal constants, the divergence of one
// value is exp(p - lse) * 1.
float ExpOf(float x) {
  const float shifted = x - 1;
  const double value = OnEveryTier([&](const KernelTable& k) {
    return k.kl_divergence(&x, 0.0, &shifted, static_cast<double>(shifted) - x + 1, 1);
  });
  return static_cast<float>(value);
}

// Within 1 ulp: an exhaustive run over all floats of the range found at most 0.987.
TEST(Exp, IsWithinOneUlpOverItsRange) {
  Random random(1);
  double worst = 0;
  for (int i = 0; i < 400000; ++i) {
    const float x = static_cast<float>(-87.3365 * random.Uniform() * (i % 4 == 0 ? 0.01 : 1.0));
    const double exact = std::exp(static_cast<double>(x));
    const double ulp = std::ldexp(1.0, std::ilogb(exact) - 23);
    worst = std::max(worst, std::abs(ExpOf(x) - exact) / ulp);
  }
  EXPECT_LT(worst, 1.0);
}

TEST(Exp, EdgesOfTheRange) {
  EXPECT_EQ(ExpOf(0.0f), 1.0f);
  EXPECT_EQ(ExpOf(-0x1p-149f), 1.0f);
  EXPECT_GE(ExpOf(-87.3365f), 0x1p-126f);
  EXPECT_EQ(ExpOf(-87.34f), 0.0f);
  EXPECT_EQ(ExpOf(-1e30f), 0.0f);
  // Nothing falls between consecutive floats around powers of two of the result.
  for (int n = -125; n <= 0; ++n) {
    const float x = static_cast<float>(n * 0.6931471805599453);
    EXPECT_LE(ExpOf(std::nextafter(x, -100.0f)), ExpOf(std::nextafter(x, 100.0f)));
  }
}

// exp is off by 1 ulp (2 u relative) of an argument that was rounded twice (scale * x, minus max):
// a relative error of (2 |scale x| + |scale x - max|) u; the sum of n floats adds n u / 8 + 3 u
// (eight lanes, three levels), the division u. Terms below 2^-126 are zero.
TEST(Softmax, IsWithinTheRoundingBoundOfTheReference) {
  for (const int64_t n : Sizes()) {
    for (const float scale : {1.0f, 0.125f, 11.0f}) {
      std::vector<float> x = RandomFloats(n, n);
      for (float& value : x) value *= 8;
      const std::vector<float> actual = Softmax(x, scale);
      const std::vector<double> expected = ReferenceSoftmax(x, scale);
      const double relative = (4.0 * 8 * scale + 8 + static_cast<double>(n) / 8) * kUnit;
      for (int64_t i = 0; i < n; ++i) {
        EXPECT_NEAR(actual[i], expected[i], 2 * relative * expected[i] + 0x1p-126);
      }
    }
  }
}

TEST(Softmax, EdgeCases) {
  EXPECT_EQ(Softmax({5.0f}, 1), std::vector<float>{1.0f});
  EXPECT_EQ(Softmax({3e38f, -3e38f}, 1), (std::vector<float>{1.0f, 0.0f}));
  EXPECT_EQ(Softmax({-kInf, 2.0f, -kInf}, 1), (std::vector<float>{0.0f, 1.0f, 0.0f}));
  EXPECT_EQ(Softmax(std::vector<float>(64, -70.0f), 3), std::vector<float>(64, 1 / 64.0f));
  for (const float value : Softmax({1.0f, kNan, 2.0f}, 1)) EXPECT_TRUE(std::isnan(value));
  for (int where = 0; where < 20; ++where) {
    std::vector<float> x(20, 1.0f);
    x[where] = kNan;
    for (const float value : Softmax(x, 1)) EXPECT_TRUE(std::isnan(value));
  }
  EXPECT_TRUE(Softmax({}, 1).empty());
}

// Terms are exp (2 u) of a difference rounded once, |x - max| <= 16 here.
TEST(LogSumExp, IsWithinTheRoundingBoundOfTheReference) {
  for (int64_t n : {1, 3, 8, 9, 100, 1000, 128000}) {
    std::vector<float> x = RandomFloats(n, n);
    for (float& value : x) value = 8 * value + 100;
    double sum = 0;
    for (const float value : x) sum += std::exp(value - 100.0);
    EXPECT_NEAR(LogSumExp(x), 100 + std::log(sum), (2 + 16) * kUnit + 1e-13);
  }
}

TEST(LogSumExp, EdgeCases) {
  EXPECT_EQ(LogSumExp({}), -INFINITY);
  EXPECT_EQ(LogSumExp({3.5f}), 3.5);
  EXPECT_EQ(LogSumExp({3e38f, 1.0f}), 3e38f);
  EXPECT_EQ(LogSumExp({-1e30f, -kInf}), -1e30f);
  EXPECT_TRUE(std::isnan(LogSumExp({1.0f, kNan})));
}

// Log ratios and the sum are in double; probabilities carry exp's 2 u and the rounding of their
// argument, here below 30 u.
TEST(KlDivergence, IsWithinTheRoundingBoundOfTheReference) {
  for (const int64_t n : {1, 5, 8, 17, 1000, 32000}) {
    for (const double distance : {1e-4, 1e-2, 3.0}) {
      std::vector<float> p = RandomFloats(n, n);
      std::vector<float> q = RandomFloats(n, n + 1);
      for (int64_t i = 0; i < n; ++i) {
        p[i] = 7 * p[i] + 20;
        q[i] = static_cast<float>(p[i] + distance * q[i] - 5);
      }
      const double p_lse = LogSumExp(p);
      const double q_lse = LogSumExp(q);
      double expected = 0;
      double norm = 0;
      for (int64_t i = 0; i < n; ++i) {
        const double term = std::exp(p[i] - p_lse) * ((p[i] - p_lse) - (q[i] - q_lse));
        expected += term;
        norm += std::abs(term);
      }
      EXPECT_NEAR(Kl(p, q), expected, 32 * kUnit * norm + 1e-13);
    }
  }
}

TEST(KlDivergence, EdgeCases) {
  const std::vector<float> p = {1.0f, 2.0f, -3.0f};
  EXPECT_EQ(Kl(p, p), 0.0);
  EXPECT_EQ(Kl({0.0f, -kInf}, {0.0f, -kInf}), 0.0) << "0 log 0 is 0";
  EXPECT_EQ(Kl({0.0f, -2000.0f}, {0.0f, -kInf}), 0.0);
  EXPECT_EQ(Kl({0.0f, 0.0f}, {0.0f, -kInf}), INFINITY);
  EXPECT_TRUE(std::isnan(Kl({0.0f, kNan}, {0.0f, 0.0f})));
}

// Factor: two double operations, rounded to float (u); then two multiplications (2 u).
TEST(RmsNorm, IsWithinTheRoundingBoundOfTheReference) {
  for (const int64_t n : Sizes()) {
    for (const float magnitude : {1e-15f, 1.0f, 1e15f}) {
      std::vector<float> x = RandomFloats(n, n);
      const std::vector<float> weight = RandomFloats(n, n + 1);
      for (float& value : x) value *= magnitude;
      const float eps = 1e-5f;
      const std::vector<float> actual = OnEveryTier([&](const KernelTable& kernels) {
        std::vector<float> out(n + 1, 7);
        kernels.rms_norm(x.data(), weight.data(), eps, n, out.data());
        EXPECT_EQ(out.back(), 7) << "wrote past the row";
        std::vector<float> in_place = x;
        kernels.rms_norm(in_place.data(), weight.data(), eps, n, in_place.data());
        out.pop_back();
        EXPECT_TRUE(SameBits(in_place, out));
        return out;
      });
      double squares = 0;
      for (const float value : x) squares += double{value} * value;
      for (int64_t i = 0; i < n; ++i) {
        const double expected =
            x[i] / std::sqrt(squares / static_cast<double>(n) + eps) * weight[i];
        EXPECT_NEAR(actual[i], expected, 3.01 * kUnit * std::abs(expected));
      }
    }
  }
}

TEST(SiluMul, IsWithinTheRoundingBoundOfTheReference) {
  const int64_t n = 4003;
  std::vector<float> gate = RandomFloats(n, 1);
  const std::vector<float> up = RandomFloats(n, 2);
  for (int64_t i = 0; i < n; ++i) gate[i] *= i % 2 == 0 ? 4.0f : 80.0f;
  const std::vector<float> actual = OnEveryTier([&](const KernelTable& kernels) {
    std::vector<float> out(n + 1, 7);
    kernels.silu_mul(gate.data(), up.data(), n, out.data());
    EXPECT_EQ(out.back(), 7) << "wrote past the row";
    out.pop_back();
    return out;
  });
  for (int64_t i = 0; i < n; ++i) {
    const double expected = gate[i] / (1 + std::exp(-static_cast<double>(gate[i]))) * up[i];
    // exp 2 u (it enters numerator and denominator), sum, division and two products u each.
    EXPECT_NEAR(actual[i], expected, 8 * kUnit * std::abs(expected)) << gate[i];
  }
}

TEST(SiluMul, EdgeCases) {
  const std::vector<float> gate = {0.0f, -0.0f, 1e30f, -1e30f, kInf, kNan, -89.0f, 2.0f, -2.0f};
  const std::vector<float> up(gate.size(), 1.0f);
  const std::vector<float> out = OnEveryTier([&](const KernelTable& kernels) {
    std::vector<float> in_place = gate;
    kernels.silu_mul(in_place.data(), up.data(), gate.size(), in_place.data());
    return in_place;
  });
  EXPECT_EQ(out[0], 0);
  EXPECT_EQ(out[1], 0);
  EXPECT_EQ(out[2], 1e30f);
  EXPECT_EQ(out[3], 0);
  EXPECT_EQ(out[4], kInf);
  EXPECT_TRUE(std::isnan(out[5]));
  EXPECT_EQ(out[6], 0);
}

TEST(GeluTanhMul, IsWithinTheRoundingBoundOfTheReference) {
  const int64_t n = 4003;
  std::vector<float> gate = RandomFloats(n, 1);
  const std::vector<float> up = RandomFloats(n, 2);
  for (int64_t i = 0; i < n; ++i) gate[i] *= i % 2 == 0 ? 1.0f : 4.0f;
  const std::vector<float> actual = OnEveryTier([&](const KernelTable& kernels) {
    std::vector<float> out(n + 1, 7);
    kernels.gelu_tanh_mul(gate.data(), up.data(), n, out.data());
    EXPECT_EQ(out.back(), 7) << "wrote past the row";
    out.pop_back();
    return out;
  });
  const double root = std::sqrt(2 / std::numbers::pi);
  for (int64_t i = 0; i < n; ++i) {
    const double g = gate[i];
    const double twice = 2 * root * (g + 0.044715 * g * g * g);
    const double expected = g / (1 + std::exp(-twice)) * up[i];
    // As SiluMul, and exp of an argument off by 5 u: two constants, the square, the sum, a product.
    EXPECT_NEAR(actual[i], expected, (8 + 5 * std::abs(twice)) * kUnit * std::abs(expected) + 1e-37)
        << g;
    // The form with tanh is the same function; as g (1 + tanh) cancels, only absolutely.
    EXPECT_NEAR(expected, g / 2 * (1 + std::tanh(twice / 2)) * up[i], 1e-13 * std::abs(g));
  }
}

TEST(GeluTanhMul, EdgeCases) {
  const std::vector<float> gate = {0.0f, -0.0f, 1e30f, -1e30f, kInf, kNan, -89.0f, 2e19f, -2e19f};
  const std::vector<float> up(gate.size(), 1.0f);
  const std::vector<float> out = OnEveryTier([&](const KernelTable& kernels) {
    std::vector<float> in_place = gate;
    kernels.gelu_tanh_mul(in_place.data(), up.data(), gate.size(), in_place.data());
    return in_place;
  });
  EXPECT_EQ(out[0], 0);
  EXPECT_EQ(out[1], 0);
  EXPECT_EQ(out[2], 1e30f);
  EXPECT_EQ(out[3], 0);
  EXPECT_EQ(out[4], kInf);
  EXPECT_TRUE(std::isnan(out[5]));
  EXPECT_EQ(out[6], 0);
  EXPECT_EQ(out[7], 2e19f);
  EXPECT_EQ(out[8], 0);
}

TEST(SoftCap, IsWithinTheDocumentedBoundOfTheReference) {
  for (const float scale : {1.0f, 0.07f}) {
    for (const float cap : {30.0f, 2.0f}) {
      std::vector<float> x = RandomFloats(5003, 3);
      // From far below to far above the cap, both sides of the switch at half of it.
      for (size_t i = 0; i < x.size(); ++i) {
        x[i] *= cap / scale * std::ldexp(1.0f, static_cast<int>(i % 32) - 28);
      }
      const std::vector<float> actual = OnEveryTier([&](const KernelTable& kernels) {
        std::vector<float> out = x;
        out.push_back(7);
        kernels.soft_cap(out.data(), scale, cap, static_cast<int64_t>(x.size()));
        EXPECT_EQ(out.back(), 7) << "wrote past the row";
        out.pop_back();
        return out;
      });
      for (size_t i = 0; i < x.size(); ++i) {
        const double expected = cap * std::tanh(static_cast<double>(x[i]) * scale / cap);
        ASSERT_NEAR(actual[i], expected, 12 * kUnit * std::abs(expected)) << x[i];
      }
    }
  }
}

TEST(SoftCap, EdgeCases) {
  const std::vector<float> x = {0.0f, kInf, -kInf, kNan, 3e38f, -3e38f, 1e-40f};
  const std::vector<float> out = OnEveryTier([&](const KernelTable& kernels) {
    std::vector<float> in_place = x;
    kernels.soft_cap(in_place.data(), 1, 30, static_cast<int64_t>(x.size()));
    return in_place;
  });
  EXPECT_EQ(out[0], 0);
  EXPECT_EQ(out[1], 30);
  EXPECT_EQ(out[2], -30);
  EXPECT_TRUE(std::isnan(out[3]));
  EXPECT_EQ(out[4], 30);
  EXPECT_EQ(out[5], -30);
  EXPECT_NEAR(out[6], 1e-40, 30 * 0x1p-149);  // a rounding of subnormals ahead of the cap
}

TEST(RotateHalf, RotatesPairsOfTheTwoHalves) {
  for (const int64_t half : {1, 4, 8, 10, 16, 33, 64}) {
    const std::vector<float> x = RandomFloats(2 * half, half);
    std::vector<float> cos(half), sin(half);
    for (int64_t i = 0; i < half; ++i) {
      cos[i] = std::cos(0.3f * static_cast<float>(i));
      sin[i] = std::sin(0.3f * static_cast<float>(i));
    }
    const std::vector<float> actual = OnEveryTier([&](const KernelTable& kernels) {
      std::vector<float> out = x;
      out.push_back(7);
      kernels.rotate_half(out.data(), cos.data(), sin.data(), half);
      EXPECT_EQ(out.back(), 7) << "wrote past the row";
      out.pop_back();
      return out;
    });
    for (int64_t i = 0; i < half; ++i) {
      const float a = x[i];
      const float b = x[half + i];
      // Two products and a sum, each rounded: what PyTorch computes in float.
      EXPECT_TRUE(SameBits(actual[i], a * cos[i] - b * sin[i]));
      EXPECT_TRUE(SameBits(actual[half + i], b * cos[i] + a * sin[i]));
    }
  }
}

}  // namespace
}  // namespace bitbudget
