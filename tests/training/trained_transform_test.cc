#include "runtime/training/trained_transform.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/quantize/encoders.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {
namespace {

class TrainedTransformTest : public testing::Test {
 protected:
  TrainedTransformTest() {
    TinyModelOptions options;
    options.hidden = 32;
    options.kv_heads = 1;
    options.dtype = kFormatBF16;
    const TinyModel tiny(options);
    model_ = *Model::Load(tiny.path(), 1);
    original_ = ReadLayer<float>(*model_, 0);
    const auto encoder = *MakeEncoder("rtn");
    for (int i = 0; i < kLayerMatrices; ++i) {
      const TensorView& view = model_->Weight(LayerComponentId(0, i));
      clipped_.push_back(std::make_unique<TrainedClipping>(
          original_.matrices[i], *encoder->Encode(view, *ParseFormat("int8-g32"), {}, 1)));
      all_[i] = clipped_.back().get();
    }
    for (int64_t c = 0; c < model_->config().hidden_size; ++c) {
      start_.attention_input.push_back(1 + 0.03f * static_cast<float>(c));
      start_.mlp_input.push_back(1.7f - 0.03f * static_cast<float>(c));
    }
    for (int64_t c = 0; c < model_->config().kv_size(); ++c) {
      start_.value.push_back(0.9f + 0.01f * static_cast<float>(c));
    }
  }

  std::unique_ptr<Model> model_;
  LayerParameters<float> original_;
  std::vector<std::unique_ptr<TrainedClipping>> clipped_;
  TrainedTransform::Matrices all_;
  LayerScales start_;
};

TEST_F(TrainedTransformTest, HasScalesWhereAllMatricesOfAPlaceAreTrained) {
  const auto scales = [&](std::vector<int> missing) {
    TrainedTransform::Matrices some = all_;
    for (const int i : missing) some[i] = nullptr;
    return TrainedTransform(*model_, 0, original_, some, start_).Scales();
  };
  EXPECT_EQ(scales({}).attention_input.size(), start_.attention_input.size());
  EXPECT_FALSE(scales({}).query_key.empty());
  EXPECT_TRUE(scales({kQMatrix}).attention_input.empty());
  EXPECT_TRUE(scales({kQMatrix}).query_key.empty());
  EXPECT_FALSE(scales({kQMatrix}).value.empty());
  EXPECT_TRUE(scales({kOMatrix}).value.empty());
  EXPECT_FALSE(scales({kOMatrix}).attention_input.empty());
  EXPECT_TRUE(scales({kUpMatrix}).mlp_input.empty());
  TrainedTransform::Matrices none = {};
  EXPECT_FALSE(TrainedTransform(*model_, 0, original_, none, start_).any());
}

// The clipped matrices in 8 bits and the norms, as the checkpoint stores them, make the same
// products as the original layer, up to the rounding of the codes alone.
TEST_F(TrainedTransformTest, EndsWithNormsThatCanBeStoredAndUndoTheScales) {
  TrainedTransform transform(*model_, 0, original_, all_, start_);
  LayerParameters<float> layer = original_;
  const LayerVectors vectors = transform.Finish(1, &layer);
  EXPECT_NE(vectors.attention_norm, model_->layer(0).attention_norm);
  for (size_t c = 0; c < vectors.attention_norm.size(); ++c) {
    const float norm = vectors.attention_norm[c];
    EXPECT_EQ(norm, BFloat16ToFloat(FloatToBFloat16(norm)));
  }
  // What a norm lost by its rounding is in the scale.
  const LayerScales scales = transform.Scales();
  for (int64_t c = 0; c < model_->config().hidden_size; ++c) {
    EXPECT_NEAR(scales.attention_input[c] * vectors.attention_norm[c] / original_.attention_norm[c],
                1,
                1e-6);
    EXPECT_NEAR(scales.mlp_input[c] * vectors.mlp_norm[c] / original_.mlp_norm[c], 1, 1e-6);
  }
  for (const LayerMatrix which : {kQMatrix, kKMatrix, kGateMatrix, kUpMatrix}) {
    Matrix<float> image;
    all_[which]->Decode(1, &image);
    const bool attention = which == kQMatrix || which == kKMatrix;
    const RowVector<float>& before = attention ? original_.attention_norm : original_.mlp_norm;
    const std::vector<float>& after = attention ? vectors.attention_norm : vectors.mlp_norm;
    for (int64_t row = 0; row < image.rows(); ++row) {
      double difference = 0, size = 0;
      for (int64_t c = 0; c < image.cols(); ++c) {
        const double wanted = static_cast<double>(before[c]) * original_.matrices[which](row, c);
        difference += std::abs(static_cast<double>(after[c]) * image(row, c) - wanted);
        size += std::abs(wanted);
      }
      EXPECT_LT(difference, 0.02 * size) << which << " row " << row;
    }
  }
}

// Rounding aside the layer stays the same whatever the scales, so the gradient of a function of the
// folded parameters that undoes them is 0, and of one that does not is not.
TEST_F(TrainedTransformTest, GradientsAreThoseOfTheFoldedParameters) {
  TrainedTransform transform(*model_, 0, original_, all_, start_);
  LayerParameters<float> layer = original_;
  transform.Fold(1, &layer);
  LayerParameters<float> gradient;
  for (int i = 0; i < kLayerMatrices; ++i) {
    gradient.matrices[i].setZero(original_.matrices[i].rows(), original_.matrices[i].cols());
    gradient.biases[i].setZero(original_.biases[i].size());
  }
  gradient.attention_norm.setZero(original_.attention_norm.size());
  gradient.mlp_norm.setZero(original_.mlp_norm.size());
  gradient.attention_norm[3] = 2;
  transform.Backward(gradient, 1);
  // d/dlog s of 2 * norm / s.
  const std::vector<float>& slopes = transform.parameters()->gradient;
  EXPECT_NEAR(slopes[3], -2 * original_.attention_norm[3] / start_.attention_input[3], 1e-5);
  EXPECT_EQ(slopes[2], 0.0f);
  // A weight of q in the middle of its group's range: + w s.
  gradient.attention_norm.setZero();
  const Matrix<float>& q = original_.matrices[kQMatrix];
  int64_t smallest = 0;
  for (int64_t c = 0; c < 32; ++c) {
    if (std::abs(q(0, c)) < std::abs(q(0, smallest))) smallest = c;
  }
  gradient.matrices[kQMatrix](0, smallest) = 1;
  transform.Backward(gradient, 1);
  EXPECT_NE(slopes[smallest], 0.0f);
}

}  // namespace
}  // namespace bitbudget
