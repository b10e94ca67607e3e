#include "runtime/training/trained_matrix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "runtime/quantize/encoders.h"
#include "runtime/tensor/tensor_view.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

constexpr int64_t kRows = 5;
constexpr int64_t kCols = 256;

Matrix<float> Original() {
  const std::vector<float> values = GaussianValues(kRows * kCols, 0.1, 3);
  return Eigen::Map<const Matrix<float>>(values.data(), kRows, kCols);
}

Encoding Encoded(const Matrix<float>& weights, const std::string& format, const char* encoder) {
  const auto made = *MakeEncoder(encoder);
  return *made->Encode(ViewOf({weights.data(), static_cast<size_t>(weights.size())}, kRows, kCols),
                       *ParseFormat(format));
}

Matrix<float> Decoded(const Encoding& encoding) {
  Matrix<float> values(encoding.rows, encoding.cols);
  DecodeReference(encoding, {values.data(), static_cast<size_t>(values.size())});
  return values;
}

class TrainedMatrixTest : public testing::TestWithParam<const char*> {};

TEST_P(TrainedMatrixTest, StartsAsTheEncodingBitForBit) {
  const Matrix<float> original = Original();
  // The codes of weights that are not the original ones: some are in other cells.
  const std::vector<float> noise = GaussianValues(kRows * kCols, 0.05, 4);
  const Matrix<float> moved =
      original + Eigen::Map<const Matrix<float>>(noise.data(), kRows, kCols);
  for (const Matrix<float>* encoded : {&original, &moved}) {
    const Encoding start = Encoded(*encoded, GetParam(), "rtn");
    const auto trained = MakeTrainedMatrix(original, start, {});
    EXPECT_EQ(trained->Encode(1).bytes, start.bytes);
    Matrix<float> image;
    trained->Decode(2, &image);
    EXPECT_LT((image - Decoded(start)).cwiseAbs().maxCoeff(), 1e-6);
  }
}

TEST_P(TrainedMatrixTest, TheEncodingIsTheImageWithRoundedScalesAfterAStep) {
  const auto trained = MakeTrainedMatrix(Original(), Encoded(Original(), GetParam(), "rtn"), {});
  Random random(5);
  for (ParameterArray* array : trained->parameters()) {
    for (float& value : array->values) value += 0.03f * static_cast<float>(random.Normal());
  }
  Matrix<float> image;
  trained->Decode(1, &image);
  const Encoding encoding = trained->Encode(2);
  EXPECT_EQ(encoding.bytes, trained->Encode(1).bytes);
  EXPECT_EQ(encoding.bytes.size(), static_cast<size_t>(SizeBytes(encoding.format, kRows, kCols)));
  const Matrix<float> decoded = Decoded(encoding);
  EXPECT_NE(decoded, Decoded(Encoded(Original(), GetParam(), "rtn")));
  // Rounding a scale to f16 moves a level by 2^-11 of itself, and may move a weight on the border
  // of two cells into the other one: hardly any.
  // bf16 has 8 bits.
  const float rounding = encoding.format.IsFloat() ? 4e-3f : 2e-3f;
  int64_t far = 0;
  for (int64_t i = 0; i < image.size(); ++i) {
    if (std::abs(image.data()[i] - decoded.data()[i]) >
        rounding * std::abs(image.data()[i]) + 1e-6f) {
      ++far;
    }
  }
  EXPECT_LE(far, image.size() / 100);
}

// The gradient by scales is exact where no code changes; that by a weight is the image's where the
// grid reaches, and 0 beyond its ends.
TEST_P(TrainedMatrixTest, GradientsOfScalesAgreeWithDifferences) {
  const Matrix<float> original = Original();
  const auto trained = MakeTrainedMatrix(
      original, Encoded(original, GetParam(), "rtn"), {.weights = false, .scales = true});
  const std::vector<float> mixture = GaussianValues(kRows * kCols, 1, 6);
  const Eigen::Map<const Matrix<float>> d_image(mixture.data(), kRows, kCols);
  const auto loss = [&] {
    Matrix<float> image;
    trained->Decode(1, &image);
    return image.cast<double>().cwiseProduct(d_image.cast<double>()).sum();
  };
  trained->Backward(d_image, 2);
  for (ParameterArray* array : trained->parameters()) {
    if (array->kind != ParameterKind::kLogScales) continue;
    for (size_t i = 0; i < array->values.size(); i += 3) {
      constexpr float kStep = 1e-2f;
      array->values[i] = kStep;
      const double above = loss();
      array->values[i] = -kStep;
      const double below = loss();
      array->values[i] = 0;
      const double difference = (above - below) / (2 * kStep);
      EXPECT_NEAR(array->gradient[i], difference, 1e-3 * std::abs(difference) + 1e-4) << i;
    }
  }
}

TEST_P(TrainedMatrixTest, GradientsOfWeightsPassThroughTheRounding) {
  const Matrix<float> original = Original();
  const Encoding start = Encoded(original, GetParam(), "rtn");
  const auto trained = MakeTrainedMatrix(original, start, {.weights = true, .scales = false});
  const Matrix<float> ones = Matrix<float>::Ones(kRows, kCols);
  trained->Backward(ones, 1);
  ASSERT_EQ(trained->parameters().size(), 1u);
  const ParameterArray& weights = *trained->parameters()[0];
  const bool one_bit = start.format.kind == FormatKind::kOneBit;
  int64_t passed = 0;
  for (const float g : weights.gradient) {
    if (one_bit) {
      EXPECT_GT(g, 0);  // by the size of the weight
    } else {
      EXPECT_TRUE(g == 0 || g == 1);
    }
    passed += g != 0 ? 1 : 0;
  }
  // Nearly all weights lie within their grids; sparse formats keep half.
  const bool sparse = start.format.IsSparse();
  EXPECT_GE(passed, (sparse ? 45 : 90) * kRows * kCols / 100);
  EXPECT_LE(passed, (sparse ? 50 : 100) * kRows * kCols / 100);
}

// A weight that the start's grid clips: nothing changes when it moves.
TEST(TrainedMatrix, AWeightBeyondItsGridHasNoGradient) {
  for (const char* format : {"int2-g64", "int4z-g32", "q4_0", "q4_k", "iq4_nl"}) {
    Matrix<float> original = Original();
    original(2, 5) = 0.6f;  // the largest of its group, so that it has the outermost code
    const Encoding start = Encoded(original, format, "rtn");
    original(2, 5) = 6.0f;
    const auto trained = MakeTrainedMatrix(original, start, {.weights = true, .scales = false});
    trained->Backward(Matrix<float>::Ones(kRows, kCols), 1);
    const std::vector<float>& gradient = trained->parameters()[0]->gradient;
    EXPECT_EQ(gradient[2 * kCols + 5], 0) << format;
    EXPECT_EQ(gradient[2 * kCols + 6], 1) << format;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats,
                         TrainedMatrixTest,
                         testing::Values("int4-g128",
                                         "int2-g64",
                                         "int3z-g32",
                                         "int8",
                                         "q2_k",
                                         "q3_k",
                                         "q4_k",
                                         "q4_0",
                                         "iq4_nl",
                                         "mxfp4",
                                         "iq1_s",
                                         "iq2_xxs",
                                         "iq3_s",
                                         "affine4-g64",
                                         "onebit",
                                         "onebit-ln",
                                         "int4-g64+2:4",
                                         "int3-g64+s50",
                                         "bf16+s50"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return !isalnum(c); }, '_');
                           return name;
                         });

TEST(CheckTrainable, RefusesFormatsWithoutCodes) {
  for (const char* format : {"bf16", "removed"}) {
    EXPECT_FALSE(CheckTrainable(*ParseFormat(format)).ok()) << format;
  }
}

}  // namespace
}  // namespace bitbudget
