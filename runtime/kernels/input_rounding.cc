#include "runtime/kernels/input_rounding.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "runtime/base/float16.h"

namespace bitbudget {
namespace {

constexpr float kTop = 127;

// Rounds to the nearest integer, ties to even: the sum has no room for fractions. REQUIRES: |x| <
// 2^22.
inline float Round(float x) {
  constexpr float kNoFractions = 12582912.0f;  // 1.5 * 2^23
  return (x + kNoFractions) - kNoFractions;
}

float Rounded16(float x) { return HalfToFloat(FloatToHalf(x)); }

// The first input of the largest magnitude, 0 if there is none.
float Extreme(const float* x, int64_t count) {
  float extreme = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
  }
  return extreme;
}

// The sum of the codes round(x * inverse).
int32_t RoundRun(const float* x, int64_t count, float inverse, int8_t* codes) {
  int32_t sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    codes[i] = static_cast<int8_t>(std::min(kTop, Round(x[i] * inverse)));
    sum += codes[i];
  }
  return sum;
}

}  // namespace

InputRounding LlamaCppRounding(const Format& format) {
  if (format.IsSparse()) return InputRounding::kNone;
  switch (format.kind) {
    case FormatKind::kF16:
      return InputRounding::kF16;
    case FormatKind::kBF16:
      return InputRounding::kBF16;
    case FormatKind::kQ4_0:
    case FormatKind::kQ5_0:
    case FormatKind::kQ8_0:
    case FormatKind::kIQ4_NL:
    case FormatKind::kMXFP4:
    case FormatKind::kQ1_0:
    case FormatKind::kQ2_0:
      return InputRounding::kQ8_0;
    case FormatKind::kQ4_1:
    case FormatKind::kQ5_1:
      return InputRounding::kQ8_1;
    case FormatKind::kQ2_K:
    case FormatKind::kQ3_K:
    case FormatKind::kQ4_K:
    case FormatKind::kQ5_K:
    case FormatKind::kQ6_K:
    case FormatKind::kIQ4_XS:
    case FormatKind::kTQ1_0:
    case FormatKind::kTQ2_0:
    case FormatKind::kIQ1_S:
    case FormatKind::kIQ1_M:
    case FormatKind::kIQ2_XXS:
    case FormatKind::kIQ2_XS:
    case FormatKind::kIQ2_S:
    case FormatKind::kIQ3_XXS:
    case FormatKind::kIQ3_S:
      return InputRounding::kQ8_K;
    case FormatKind::kAffine:
    case FormatKind::kF32:
    case FormatKind::kInteger:
    case FormatKind::kOneBit:
    case FormatKind::kRemoved:
      break;
  }
  return InputRounding::kNone;
}

int RunOf(InputRounding rounding) {
  switch (rounding) {
    case InputRounding::kQ8_0:
    case InputRounding::kQ8_1:
      return 32;
    case InputRounding::kQ8_K:
      return 256;
    case InputRounding::kNone:
    case InputRounding::kF16:
    case InputRounding::kBF16:
      break;
  }
  return 0;
}

void RoundToCodes(
    InputRounding rounding, const float* x, int64_t k, int8_t* codes, float* scales, float* sums) {
  const int64_t run = RunOf(rounding);
  CHECK(run > 0 && k % run == 0) << "runs of " << run << " in rows of " << k;
  const int64_t runs = k / run;
  if (!std::all_of(x, x + k, [](float value) { return std::isfinite(value); })) {
    constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
    std::fill_n(codes, k, int8_t{0});
    std::fill_n(scales, runs, kNan);
    if (rounding == InputRounding::kQ8_1) std::fill_n(sums, runs, kNan);
    return;
  }
  for (int64_t r = 0; r < runs; ++r, x += run, codes += run) {
    const float extreme = Extreme(x, run);
    const float top = rounding == InputRounding::kQ8_K ? extreme : std::abs(extreme);
    float inverse = (rounding == InputRounding::kQ8_K ? -kTop : kTop) / top;
    if (!std::isfinite(inverse)) inverse = 0;
    const int32_t sum = RoundRun(x, run, inverse, codes);
    if (rounding == InputRounding::kQ8_K) {
      scales[r] = inverse == 0 ? 0 : 1 / inverse;
      continue;
    }
    const float scale = top / kTop;
    scales[r] = Rounded16(scale);
    if (rounding == InputRounding::kQ8_1) sums[r] = Rounded16(scale * static_cast<float>(sum));
  }
}

void RoundToFloats(InputRounding rounding, int64_t m, int64_t k, float* x) {
  const int64_t count = m * k;
  if (const int64_t run = RunOf(rounding); run > 0) {
    std::vector<int8_t> codes(k);
    std::vector<float> scales(k / run), sums(k / run);
    for (float* row = x; row < x + count; row += k) {
      RoundToCodes(rounding, row, k, codes.data(), scales.data(), sums.data());
      for (int64_t i = 0; i < k; ++i) row[i] = scales[i / run] * static_cast<float>(codes[i]);
    }
  } else if (rounding == InputRounding::kF16) {
    for (int64_t i = 0; i < count; ++i) x[i] = Rounded16(x[i]);
  } else if (rounding == InputRounding::kBF16) {
    for (int64_t i = 0; i < count; ++i) x[i] = BFloat16ToFloat(FloatToBFloat16(x[i]));
  }
}

}  // namespace bitbudget
