#include "runtime/training/layer_tuning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "runtime/model/decoder/transformer.h"
#include "runtime/quantize/clip_encoder.h"
#include "tests/support/random_tokens.h"
#include "tests/support/reference_weights.h"
#include "tests/training/uneven_layer.h"

namespace bitbudget {
namespace {

LayerEncodings EncodingsOf(const UnevenLayer& layer, const Format& format) {
  LayerEncodings encodings;
  for (int i = 0; i < kLayerMatrices; ++i) {
    const Matrix<float>& m = layer.parameters.matrices[i];
    encodings[i] = *MakeClipEncoder()->Encode(ViewOfMatrix(m), format);
  }
  return encodings;
}

TEST(TuneLayer, LowersTheErrorOfOutputsAndChangesScalesOnly) {
  const UnevenLayer layer;
  for (const char* name : {"int4-g32", "int3z-g64", "int2z-g32", "int2-g64"}) {
    const Format format = *ParseFormat(name);
    const LayerEncodings start = EncodingsOf(layer, format);
    LayerEncodings tuned = start;
    const auto [before, after] = TuneLayer(layer.Sample(), 20, 1, &tuned);
    EXPECT_LT(after, 0.9 * before) << name;
    for (int i = 0; i < kLayerMatrices; ++i) {
      const EncodingLayout layout(format, start[i].rows, start[i].cols);
      const auto same = [&](int64_t begin, int64_t end) {
        return std::equal(start[i].bytes.begin() + begin,
                          start[i].bytes.begin() + end,
                          tuned[i].bytes.begin() + begin);
      };
      EXPECT_TRUE(same(0, layout.scales_offset)) << name << i;
      EXPECT_TRUE(same(layout.zeros_offset, layout.total_bytes)) << name << i;
    }
    LayerEncodings shared = start;
    TuneLayer(layer.Sample(), 20, 3, &shared);
    for (int i = 0; i < kLayerMatrices; ++i) EXPECT_EQ(shared[i].bytes, tuned[i].bytes);
  }
}

TEST(TuneLayer, LeavesALayerWithoutErrorAlone) {
  UnevenLayer layer;
  const Format format = *ParseFormat("int8-g32");
  LayerEncodings encodings = EncodingsOf(layer, format);
  for (int i = 0; i < kLayerMatrices; ++i) {
    Matrix<float>& m = layer.parameters.matrices[i];
    DecodeReference(encodings[i], {m.data(), static_cast<size_t>(m.size())});
  }
  const LayerEncodings start = encodings;
  const auto [before, after] = TuneLayer(layer.Sample(), 20, 1, &encodings);
  EXPECT_EQ(before, 0);
  EXPECT_EQ(after, 0);
  for (int i = 0; i < kLayerMatrices; ++i) EXPECT_EQ(encodings[i].bytes, start[i].bytes);
}

TEST(LayerTuningEncoder, GivesTheSameInAnyOrderAndPassesOnWhatItDoesNotTune) {
  const UnevenLayer layer;
  const Model& model = *layer.model;
  const Transformer transformer(model, 64);
  ReferenceWeights weights(model, 1);
  const std::unique_ptr<Encoder> clip = MakeClipEncoder();
  const StatsWeightEncoder rows(model, *clip);
  const std::vector<std::vector<int32_t>> sequences = {
      RandomTokens(30, model.config().vocab_size, 1),
      RandomTokens(20, model.config().vocab_size, 2)};
  Progress silent;
  std::vector<std::vector<uint8_t>> first;
  int changed = 0;
  for (const bool backwards : {false, true}) {
    LayerTuningEncoder tuning(model, rows);
    ASSERT_TRUE(tuning.Calibrate(transformer, &weights, sequences, 2, &silent).ok());
    std::vector<std::vector<uint8_t>> all(model.components().size());
    for (size_t i = 0; i < all.size(); ++i) {
      const auto id = static_cast<ComponentId>(backwards ? all.size() - 1 - i : i);
      const auto encoding = tuning.Encode(id, *ParseFormat("int3z-g64"), 1);
      ASSERT_TRUE(encoding.ok()) << encoding.status();
      all[id] = encoding->bytes;
      changed += encoding->bytes != rows.Encode(id, encoding->format, 1)->bytes;
      EXPECT_EQ(tuning.Encode(id, kFormatF32, 1)->bytes, rows.Encode(id, kFormatF32, 1)->bytes);
    }
    if (!backwards) first = all;
    EXPECT_EQ(all, first);
  }
  EXPECT_EQ(changed, 2 * 7 * model.config().num_hidden_layers);
}

}  // namespace
}  // namespace bitbudget
