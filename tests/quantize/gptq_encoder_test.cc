#include "runtime/quantize/gptq_encoder.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/quantize/clip_encoder.h"
#include "runtime/quantize/feedback.h"
#include "runtime/tensor/encoding.h"
#include "runtime/tensor/sparse_layout.h"
#include "runtime/tensor/tensor_view.h"
#include "tests/support/formats.h"
#include "tests/support/gram_inputs.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

struct Problem {
  Problem(int64_t n, int64_t k, int64_t tokens = 600)
      : rows(n),
        cols(k),
        weights(GaussianValues(n * k, 0.05, 7)),
        gram(CorrelatedGram(k, tokens, 11)),
        moments(DiagonalOf(gram)) {}

  InputStats stats() const { return {moments, &gram}; }
  TensorView view() const { return ViewOf(weights, rows, cols); }

  Encoding Encode(const Encoder& encoder, const Format& format, int threads = 1) const {
    const auto encoding = encoder.Encode(view(), format, stats(), threads);
    EXPECT_TRUE(encoding.ok()) << format.Name() << ": " << encoding.status();
    return *encoding;
  }
  // d H d^T of every row, H damped.
  std::vector<double> Errors(const Encoding& encoding) const {
    const Gram damped = Damp(gram).gram;
    std::vector<double> errors;
    std::vector<float> values(cols);
    for (int64_t row = 0; row < rows; ++row) {
      DecodeReferenceRow(encoding, row, values);
      for (int64_t i = 0; i < cols; ++i) values[i] = weights[row * cols + i] - values[i];
      errors.push_back(GramError(values, damped));
    }
    return errors;
  }

  int64_t rows;
  int64_t cols;
  std::vector<float> weights;
  Gram gram;
  std::vector<float> moments;
};

double Sum(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum;
}

std::vector<Format> CodedFormats(int64_t k) {
  std::vector<Format> formats;
  for (const Format& format : FormatsFor(k)) {
    if (format.IsInteger() || format.IsBlock()) formats.push_back(format);
  }
  return formats;
}

// Rows are encoded as the best of several candidates, which differ by more than the rounding of
// their errors: so what is promised holds without any tolerance.
void ExpectNeverWorse(const Problem& problem, const Format& format) {
  const std::vector<double> gptq = problem.Errors(problem.Encode(*MakeGptqEncoder(), format));
  for (const auto& other : {MakeClipEncoder(), MakeImatrixEncoder()}) {
    const std::vector<double> bound = problem.Errors(problem.Encode(*other, format));
    for (int64_t row = 0; row < problem.rows; ++row) {
      EXPECT_LE(gptq[row], bound[row])
          << format.Name() << ", row " << row << ", against " << other->name();
    }
  }
}

TEST(GptqEncoderTest, NoRowIsWorseThanWithClipOrImatrix) {
  const Problem problem(5, 256);
  for (const Format& format : CodedFormats(256)) ExpectNeverWorse(problem, format);
}

TEST(GptqEncoderTest, RowsOfSeveralColumnBatchesAreNoWorseEither) {
  for (const char* name : {"int3z-g64", "int4-g128", "int2z-g32", "int8", "q4_k", "q8_0"}) {
    ExpectNeverWorse(Problem(3, 768), *ParseFormat(name));
  }
}

TEST(GptqEncoderTest, GroupsNeedNotDivideRows) {
  for (const int64_t k : {1, 7, 33, 100, 300}) {
    const Problem problem(3, k);
    for (const char* name : {"int2z-g64", "int3-g32", "int4z-g128", "int8z"}) {
      ExpectNeverWorse(problem, *ParseFormat(name));
    }
  }
}

TEST(GptqEncoderTest, MakesUpForErrorsWhereInputsDependOnEachOther) {
  const Problem problem(16, 512);
  for (const char* name : {"int4z-g64", "int3z-g64", "int2z-g64", "int3-g128", "q4_k", "q3_k"}) {
    const Format format = *ParseFormat(name);
    const double gptq = Sum(problem.Errors(problem.Encode(*MakeGptqEncoder(), format)));
    const double imatrix = Sum(problem.Errors(problem.Encode(*MakeImatrixEncoder(), format)));
    // Eight shared directions carry most of the energy; 512 - 8 others are free to make up for it.
    EXPECT_LT(gptq, 0.5 * imatrix) << name;
  }
}

TEST(GptqEncoderTest, PrunedWeightsAreZerosThatTheOthersMakeUpFor) {
  Problem problem(9, 300);
  for (const char* name : {"int4z-g64+s50", "int3-g32+s12.5", "int2z-g64+2:4", "int8+s99"}) {
    const Format format = *ParseFormat(name);
    ExpectNeverWorse(problem, format);
    const Encoding gptq = problem.Encode(*MakeGptqEncoder(), format, 2);
    const Encoding clip = problem.Encode(*MakeClipEncoder(), format);
    std::vector<float> values(300);
    for (int64_t row = 0; row < 9; ++row) {
      SparseReader reader(gptq);
      reader.Read(row);
      SparseReader expected(clip);
      expected.Read(row);
      ASSERT_TRUE(std::equal(reader.columns().begin(),
                             reader.columns().end(),
                             expected.columns().begin(),
                             expected.columns().end()))
          << name << ", row " << row;
      DecodeReferenceRow(gptq, row, values);
      for (const int64_t column : reader.columns()) values[column] = 0;
      EXPECT_EQ(values, std::vector<float>(300)) << name << ", row " << row;
    }
    // Of a hundredth of the weights there is little that can be made up for.
    EXPECT_LT(Sum(problem.Errors(gptq)), 0.85 * Sum(problem.Errors(clip))) << name;
  }
}

TEST(GptqEncoderTest, FewerTokensThanInputsAreEnough) {
  const Problem problem(4, 256, 20);
  for (const char* name : {"int4z-g64", "int2-g64", "q4_k"}) {
    ExpectNeverWorse(problem, *ParseFormat(name));
  }
}

TEST(GptqEncoderTest, InputsThatNeverCarryAnythingKeepTheNearestLevel) {
  Problem problem(4, 128);
  for (const int64_t dead : {0, 5, 77, 127}) {
    for (int64_t i = 0; i < 128; ++i) {
      problem.gram.values[dead * 128 + i] = 0;
      problem.gram.values[i * 128 + dead] = 0;
    }
  }
  problem.moments = DiagonalOf(problem.gram);
  const Format format = *ParseFormat("int3z-g64");
  ExpectNeverWorse(problem, format);
  const Encoding encoding = problem.Encode(*MakeGptqEncoder(), format);
  std::vector<float> values(128);
  std::vector<int16_t> levels(128);
  std::vector<float> scales(2);
  for (int64_t row = 0; row < 4; ++row) {
    DecodeReferenceRow(encoding, row, values);
    UnpackIntegerRow(encoding, row, levels, scales);
    for (const int64_t dead : {0, 5, 77, 127}) {
      const float step = std::abs(scales[dead / 64]);
      // The weight is off by more than half a step only beyond the end of the grid: then some
      // input of its group has that end's level, and none is further out.
      if (std::abs(problem.weights[row * 128 + dead] - values[dead]) <= 0.5001f * step) continue;
      const int64_t begin = dead / 64 * 64;
      const auto [low, high] =
          std::minmax_element(levels.begin() + begin, levels.begin() + begin + 64);
      EXPECT_TRUE(levels[dead] == *low || levels[dead] == *high) << row << " " << dead;
    }
  }
}

// What feedback and refining by the unit leave of imatrix's error; measured and rounded up.
TEST(GptqEncoderTest, CodebookTypesGainByTheUnit) {
  const Problem problem(16, 512);
  const std::pair<const char*, double> kParts[] = {
      {"iq1_s", 0.152}, {"iq2_xxs", 0.143}, {"iq2_s", 0.095}, {"iq3_xxs", 0.148}, {"iq3_s", 0.125}};
  for (const auto& [name, part] : kParts) {
    const Format format = *ParseFormat(name);
    const double gptq = Sum(problem.Errors(problem.Encode(*MakeGptqEncoder(), format)));
    const double imatrix = Sum(problem.Errors(problem.Encode(*MakeImatrixEncoder(), format)));
    EXPECT_LT(gptq / imatrix, part) << name;
  }
}

TEST(GptqEncoderTest, WithoutAnyEnergyItRoundsAsClipDoes) {
  Problem problem(3, 128);
  std::fill(problem.gram.values.begin(), problem.gram.values.end(), 0.0f);
  std::fill(problem.moments.begin(), problem.moments.end(), 0.0f);
  const Format format = *ParseFormat("int4z-g64");
  ExpectNeverWorse(problem, format);
}

TEST(GptqEncoderTest, ConstantRowsZerosAndOutliersAreEncoded) {
  for (const char* name : {"int2-g64",
                           "int2z-g64",
                           "int3z-g64",
                           "int4-g32",
                           "q2_k",
                           "mxfp4",
                           "iq2_s",
                           "iq3_xxs",
                           "affine3-g64"}) {
    const Format format = *ParseFormat(name);
    Problem problem(4, 256);
    for (int64_t i = 0; i < 256; ++i) {
      problem.weights[i] = 0.25f;
      problem.weights[256 + i] = 0;
    }
    problem.weights[2 * 256 + 100] = 1e4f;
    problem.weights[3 * 256 + 3] = -1e4f;
    ExpectNeverWorse(problem, format);
    std::vector<float> values(4 * 256);
    DecodeReference(problem.Encode(*MakeGptqEncoder(), format), values);
    for (int64_t i = 0; i < 4 * 256; ++i) EXPECT_TRUE(std::isfinite(values[i])) << name;
    for (int64_t i = 0; i < 256; ++i) EXPECT_EQ(values[256 + i], 0.0f) << name << " " << i;
  }
}

TEST(GptqEncoderTest, ThreadsAndTheOtherRowsChangeNothing) {
  const Problem problem(101, 320);
  for (const char* name : {"int3z-g64", "int4-g128", "q4_0"}) {
    const Format format = *ParseFormat(name);
    const auto encoder = MakeGptqEncoder();
    const Encoding one = problem.Encode(*encoder, format);
    EXPECT_EQ(problem.Encode(*encoder, format, 2).bytes, one.bytes);
    EXPECT_EQ(problem.Encode(*encoder, format, 4).bytes, one.bytes);
    // The last rows by themselves.
    const auto tail = encoder->Encode(
        ViewOf(std::span(problem.weights).subspan(90 * 320), 11, 320), format, problem.stats());
    ASSERT_TRUE(tail.ok());
    std::vector<float> expected(320), values(320);
    for (int64_t row = 0; row < 11; ++row) {
      DecodeReferenceRow(one, 90 + row, expected);
      DecodeReferenceRow(*tail, row, values);
      EXPECT_EQ(values, expected) << name << " " << row;
    }
  }
}

TEST(GptqEncoderTest, RefusesWhatItCannotUse) {
  Problem problem(3, 64);
  const auto encoder = MakeGptqEncoder();
  const Format format = *ParseFormat("int4-g64");
  const auto message = [&](const InputStats& stats) {
    return std::string(encoder->Encode(problem.view(), format, stats).status().message());
  };
  EXPECT_NE(message({problem.moments, nullptr}).find("needs the Gram matrix"), std::string::npos);
  EXPECT_NE(message({}).find("needs the Gram matrix"), std::string::npos);
  const Gram other = CorrelatedGram(32, 50, 1);
  EXPECT_NE(message({problem.moments, &other}).find("32 inputs for 64 columns"), std::string::npos);
  problem.weights[64 + 9] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(message(problem.stats()).find("row 1, column 9"), std::string::npos);
  problem.weights[64 + 9] = 0;
  problem.gram.values[5] = std::numeric_limits<float>::infinity();
  EXPECT_NE(message(problem.stats()).find("inputs 0 and 5"), std::string::npos);
}

}  // namespace
}  // namespace bitbudget
