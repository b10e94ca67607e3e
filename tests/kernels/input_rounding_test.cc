#include "runtime/kernels/input_rounding.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/kernels/linear.h"
#include "runtime/quantize/rtn_encoder.h"
#include "tests/kernels/kernel_test_util.h"
#include "tests/kernels/reference.h"

namespace bitbudget {
namespace {

float F16(float x) { return HalfToFloat(FloatToHalf(x)); }

// A run of inputs by definition.
struct CodeRun {
  std::vector<int> codes;
  float scale = 0;
  float sum = 0;  // kQ8_1
};

CodeRun Defined(InputRounding rounding, const float* x, int count) {
  float extreme = 0;
  for (int i = 0; i < count; ++i) {
    if (std::abs(x[i]) > std::abs(extreme)) extreme = x[i];
  }
  CodeRun run;
  if (extreme == 0) {
    run.codes.resize(count);
    return run;
  }
  const bool k = rounding == InputRounding::kQ8_K;
  const float inverse = k ? -127.0f / extreme : 127.0f / std::abs(extreme);
  int sum = 0;
  for (int i = 0; i < count; ++i) {
    run.codes.push_back(std::min(127, static_cast<int>(std::nearbyint(x[i] * inverse))));
    sum += run.codes.back();
  }
  const float step = std::abs(extreme) / 127.0f;
  run.scale = k ? 1.0f / inverse : F16(step);
  if (rounding == InputRounding::kQ8_1) run.sum = F16(step * static_cast<float>(sum));
  return run;
}

constexpr InputRounding kWithCodes[] = {
    InputRounding::kQ8_0, InputRounding::kQ8_1, InputRounding::kQ8_K};

// Rows of 512 whose sizes differ by orders of magnitude, with ties, extremes of both signs, zeros
// and one run that f16 scales turn into zeros.
std::vector<float> Inputs(int64_t rows) {
  std::vector<float> x = RandomFloats(rows * 512, 3);
  for (int64_t i = 0; i < rows * 512; ++i) x[i] *= std::exp2(static_cast<float>(i / 32 % 23) - 11);
  for (int i = 0; i < 32; ++i) x[i] = i == 0 ? 127.0f : static_cast<float>(i) - 15.5f;
  x[40] = -8192;  // beyond all others of its run
  x[70] = 5;
  x[71] = -5;
  std::fill_n(x.begin() + 96, 32, 0.0f);
  std::fill_n(x.begin() + 128, 32, 1e-9f);
  return x;
}

TEST(RoundToCodes, EqualsItsDefinition) {
  const std::vector<float> x = Inputs(40);
  const int64_t k = static_cast<int64_t>(x.size());
  for (const InputRounding rounding : kWithCodes) {
    const int length = RunOf(rounding);
    ASSERT_EQ(length, rounding == InputRounding::kQ8_K ? 256 : 32);
    std::vector<int8_t> codes(k);
    std::vector<float> scales(k / length);
    std::vector<float> sums(k / length);
    RoundToCodes(rounding, x.data(), k, codes.data(), scales.data(), sums.data());
    for (int64_t r = 0; r < k / length; ++r) {
      const CodeRun run = Defined(rounding, x.data() + r * length, length);
      EXPECT_EQ(std::vector<int>(codes.begin() + r * length, codes.begin() + (r + 1) * length),
                run.codes);
      EXPECT_EQ(scales[r], run.scale) << r;
      if (rounding == InputRounding::kQ8_1) {
        EXPECT_EQ(sums[r], run.sum) << r;
      }
    }
  }
}

TEST(RoundToCodes, ErrorsAreWithinHalfAStepAndThatOfTheScale) {
  const std::vector<float> x = RandomFloats(4096, 9);
  for (const InputRounding rounding : kWithCodes) {
    const int length = RunOf(rounding);
    std::vector<int8_t> codes(x.size());
    std::vector<float> scales(x.size() / length);
    std::vector<float> sums(scales.size());
    RoundToCodes(rounding, x.data(), 4096, codes.data(), scales.data(), sums.data());
    for (int i = 0; i < 4096; ++i) {
      const double scale = scales[i / length];
      const double error = std::abs(static_cast<double>(codes[i]) * scale - x[i]);
      // Half a step, 2^-11 of |x| where scales are f16, and float roundings.
      EXPECT_LE(error, std::abs(scale) * (0.5 + 127 * 0x1p-11 + 1e-4)) << i;
      if (rounding == InputRounding::kQ8_K) {
        EXPECT_LE(error, std::abs(scale) * (0.5 + 1e-4));
      }
    }
  }
}

TEST(RoundToCodes, RunsThatAreTooSmallAreZerosAndRowsThatAreNotFiniteAreNan) {
  for (const InputRounding rounding : kWithCodes) {
    for (const float value : {1e-44f, NAN, std::numeric_limits<float>::infinity()}) {
      std::vector<float> x(512, 0.0f);
      x[300] = value;
      std::vector<int8_t> codes(512, 1);
      std::vector<float> scales(512 / RunOf(rounding), 1.0f);
      std::vector<float> sums(scales.size(), 1.0f);
      RoundToCodes(rounding, x.data(), 512, codes.data(), scales.data(), sums.data());
      EXPECT_EQ(codes, std::vector<int8_t>(512, 0));
      for (const float scale : scales) {
        EXPECT_TRUE(std::isfinite(value) ? scale == 0 : std::isnan(scale)) << value;
      }
    }
  }
}

TEST(LlamaCppRounding, IsThatOfTheTypesVecDot) {
  for (const Format& format : SupportedFormats()) {
    const std::string name = format.Name();
    InputRounding expected = InputRounding::kNone;
    if (name == "f16") expected = InputRounding::kF16;
    if (name == "bf16") expected = InputRounding::kBF16;
    for (const char* type : {"q4_0", "q5_0", "q8_0", "iq4_nl", "mxfp4", "q1_0", "q2_0"}) {
      if (name == type) expected = InputRounding::kQ8_0;
    }
    if (name == "q4_1" || name == "q5_1") expected = InputRounding::kQ8_1;
    for (const char* type : {"q2_k",
                             "q3_k",
                             "q4_k",
                             "q5_k",
                             "q6_k",
                             "iq4_xs",
                             "tq1_0",
                             "tq2_0",
                             "iq1_s",
                             "iq1_m",
                             "iq2_xxs",
                             "iq2_xs",
                             "iq2_s",
                             "iq3_xxs",
                             "iq3_s"}) {
      if (name == type) expected = InputRounding::kQ8_K;
    }
    EXPECT_EQ(LlamaCppRounding(format), expected) << name;
  }
  EXPECT_EQ(LlamaCppRounding(*ParseFormat("f16+2:4")), InputRounding::kNone);
}

Encoding Encode(const std::vector<float>& weights, int64_t n, int64_t k, const Format& format) {
  return *MakeRtnEncoder()->Encode(ViewOf(weights, n, k), format);
}

std::vector<float> Product(const std::vector<float>& x, int64_t m, const WeightPanels& w) {
  PackedActivations packed;
  PackActivations(w.packing(), x.data(), w.k, m, w.k, &packed);
  std::vector<float> y(m * w.n);
  Linear(packed, w, y.data(), w.n);
  return y;
}

// An element by definition: over the groups of weights that share a scale, or the runs where these
// are shorter, one FMA of the exact sum of products and both scales; then one FMA per minimum.
float DefinedElement(const Encoding& encoding, int64_t row, const float* x) {
  const InputRounding rounding = LlamaCppRounding(encoding.format);
  const int64_t k = encoding.cols;
  const int64_t group = encoding.format.GroupSize(k);
  const int64_t length = RunOf(rounding);
  std::vector<int16_t> levels(k);
  std::vector<float> scales(k / group);
  std::vector<float> minimums(encoding.format.HasMinimums() ? k / group : 0);
  UnpackIntegerRow(encoding, row, levels, scales, minimums);
  std::vector<CodeRun> runs;
  for (int64_t i = 0; i < k; i += length) {
    runs.push_back(Defined(rounding, x + i, static_cast<int>(length)));
  }
  float y = 0;
  const int64_t step = std::min(group, length);
  for (int64_t begin = 0; begin < k; begin += step) {
    const CodeRun& run = runs[begin / length];
    int sum = 0;
    for (int64_t i = begin; i < begin + step; ++i) sum += levels[i] * run.codes[i % length];
    y = std::fma(static_cast<float>(sum), scales[begin / group] * run.scale, y);
  }
  for (int64_t g = 0; g < static_cast<int64_t>(minimums.size()); ++g) {
    const CodeRun& run = runs[g * group / length];
    const auto first = run.codes.begin() + g * group % length;
    const int codes = std::accumulate(first, first + group, 0);
    const float sum =
        rounding == InputRounding::kQ8_1 ? run.sum : static_cast<float>(codes) * run.scale;
    y = std::fma(sum, -minimums[g], y);
  }
  return y;
}

TEST(Linear, LlamaCppEqualsItsDefinitionBitForBit) {
  int formats = 0;
  for (const Format& format : SupportedFormats()) {
    if (!format.IsBlock() || format.kind == FormatKind::kAffine) continue;  // which GGUF has not
    ++formats;
    for (const int64_t n : {1, 17, 70}) {
      const Encoding encoding = Encode(RandomFloats(n * 512, n), n, 512, format);
      const WeightPanels w = PackWeightsLlamaCpp(encoding);
      for (const int64_t m : {1, 6, 13}) {
        const std::vector<float> x = Inputs(m);
        std::vector<float> expected;
        for (int64_t i = 0; i < m * n; ++i) {
          expected.push_back(DefinedElement(encoding, i % n, x.data() + i / n * 512));
        }
        EXPECT_TRUE(SameBits(Product(x, m, w), expected)) << format.Name();
      }
    }
  }
  EXPECT_EQ(formats, 24);
}

// Nothing else is rounded: beside the exact product of the decoded weights and the rounded inputs
// there are the float operations alone.
TEST(Linear, LlamaCppMultipliesRoundedInputsExactly) {
  const int64_t n = 20, k = 512;
  const std::vector<float> x = Inputs(1);
  for (const Format& format : SupportedFormats()) {
    if (!format.IsBlock() || format.HasMinimums()) continue;
    const InputRounding rounding = LlamaCppRounding(format);
    const Encoding encoding = Encode(RandomFloats(n * k, 5), n, k, format);
    const std::vector<float> y = Product(x, 1, PackWeightsLlamaCpp(encoding));
    std::vector<float> rounded;
    for (int64_t i = 0; i < k; i += RunOf(rounding)) {
      const CodeRun run = Defined(rounding, x.data() + i, RunOf(rounding));
      for (const int code : run.codes) rounded.push_back(static_cast<float>(code) * run.scale);
    }
    std::vector<float> decoded(n * k);
    DecodeReference(encoding, decoded);
    for (int64_t j = 0; j < n; ++j) {
      const ReferenceProduct expected =
          ReferenceDot(rounded, {decoded.data() + j * k, static_cast<size_t>(k)});
      // Chains of at most 32 sums, three roundings ahead of each, and two of the values compared.
      ASSERT_NEAR(y[j], expected.value, 40 * kUnit * expected.norm) << format.Name();
    }
  }
}

TEST(Linear, FloatWeightsMultiplyInputsOfTheirType) {
  const int64_t n = 20, k = 77, m = 7;
  const std::vector<float> x = RandomFloats(m * k, 8);
  for (const char* name : {"f32", "f16", "bf16"}) {
    const Encoding encoding = Encode(RandomFloats(n * k, 6), n, k, *ParseFormat(name));
    std::vector<float> rounded = x;
    for (float& value : rounded) {
      if (std::string(name) == "f16") value = F16(value);
      if (std::string(name) == "bf16") value = BFloat16ToFloat(FloatToBFloat16(value));
    }
    EXPECT_EQ(rounded == x, std::string(name) == "f32");
    EXPECT_TRUE(SameBits(Product(x, m, PackWeightsLlamaCpp(encoding)),
                         Product(rounded, m, PackWeightsF32(encoding))));
  }
}

TEST(Linear, FormatsThatGgufDoesNotHaveRunAsInt16) {
  const int64_t n = 20, k = 96, m = 4;
  const std::vector<float> x = RandomFloats(m * k, 8);
  for (const char* name :
       {"int8", "int4-g64", "int3z-g32+2:4", "onebit-ln", "removed", "f16+s50"}) {
    const Encoding encoding = Encode(RandomFloats(n * k, 6), n, k, *ParseFormat(name));
    EXPECT_TRUE(SameBits(Product(x, m, PackWeightsLlamaCpp(encoding)),
                         Product(x, m, PackWeights(encoding))))
        << name;
  }
}

TEST(RoundToFloats, ARowBecomesItsCodesTimesTheirScales) {
  constexpr int64_t kRows = 3, kCols = 512;
  for (const InputRounding rounding :
       {InputRounding::kQ8_0, InputRounding::kQ8_1, InputRounding::kQ8_K}) {
    const int64_t run = RunOf(rounding);
    std::vector<float> x(kRows * kCols);
    for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i * i % 977));
    x[kCols + 5] = std::numeric_limits<float>::infinity();
    std::vector<float> rounded = x;
    RoundToFloats(rounding, kRows, kCols, rounded.data());
    std::vector<int8_t> codes(kCols);
    std::vector<float> scales(kCols / run), sums(kCols / run);
    for (int64_t row = 0; row < kRows; ++row) {
      RoundToCodes(
          rounding, x.data() + row * kCols, kCols, codes.data(), scales.data(), sums.data());
      for (int64_t i = 0; i < kCols; ++i) {
        const float value = rounded[row * kCols + i];
        if (row == 1) {
          EXPECT_TRUE(std::isnan(value));
        } else {
          ASSERT_EQ(value, scales[i / run] * static_cast<float>(codes[i]));
        }
      }
    }
  }
}

}  // namespace
}  // namespace bitbudget
