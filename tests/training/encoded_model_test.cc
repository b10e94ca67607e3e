#include "runtime/training/encoded_model.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "runtime/model/decoder/transformer.h"
#include "runtime/model/decoder/weights.h"
#include "tests/support/matrices.h"
#include "tests/training/recovery_fixture.h"

namespace bitbudget {
namespace {

// The largest difference of a layer's outputs from those of the runtime on the same codes, and the
// largest output.
struct LayerDistance {
  float difference = 0;
  float output = 0;
};

LayerDistance DistanceFromRuntime(const Model& model, const ComponentEncodings& encodings) {
  std::vector<std::unique_ptr<ComponentWeights>> owned;
  WeightSet set;
  for (size_t c = 0; c < model.components().size(); ++c) {
    const auto found = encodings.find(static_cast<ComponentId>(c));
    owned.push_back(found == encodings.end()
                        ? std::make_unique<ComponentWeights>(model, static_cast<ComponentId>(c))
                        : std::make_unique<ComponentWeights>(found->second, Activations::kF32));
    set.components.push_back(owned.back().get());
  }
  constexpr int64_t kRows = 20;
  const std::vector<float> values = GaussianValues(kRows * model.config().hidden_size, 1, 9);
  const Eigen::Map<const Matrix<float>> x(values.data(), kRows, model.config().hidden_size);
  Matrix<float> stream = x;
  TransformerWorkspace workspace;
  const std::vector<SequenceRows> rows = {{kRows, nullptr}};
  for (const int stage : {1, 2}) {
    Transformer(model, kRows).RunStage(stage, set, rows, stream.data(), &workspace);
  }
  LayerTrace<float> trace;
  const EncodedModel encoded{encodings};
  DecodedLayers layers(model, encoded);
  DecoderLayer<float>(model.config(), 0, {.max_positions = kRows})
      .Forward(layers.Layer(0), {{kRows}, x}, &trace);
  return {(trace.outputs - stream).cwiseAbs().maxCoeff(), trace.outputs.cwiseAbs().maxCoeff()};
}

class EncodedModelTest : public RecoveryTest {};

// What training sees is what the plan runs on, the norm behind the products included.
TEST_F(EncodedModelTest, ALayerGivesWhatTheRuntimeGivesOnTheSameCodes) {
  for (const char* format : {"int3-g32", "onebit", "onebit-ln"}) {
    const LayerDistance distance = DistanceFromRuntime(*model_, Start(format));
    EXPECT_LT(distance.difference, 1e-5f * distance.output) << format;
  }
}

TEST_F(EncodedModelTest, ARecoveredLayerGivesItToo) {
  const auto recovered = Run(Start("onebit-ln"), {"blockwise", "onebit"});
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  const LayerDistance distance = DistanceFromRuntime(*model_, recovered->model.encodings);
  EXPECT_LT(distance.difference, 1e-5f * distance.output);
}

}  // namespace
}  // namespace bitbudget
