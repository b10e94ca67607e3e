#ifndef BITBUDGET_TESTS_TRAINING_UNEVEN_LAYER_H_
#define BITBUDGET_TESTS_TRAINING_UNEVEN_LAYER_H_

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "runtime/model/decoder/model.h"
#include "runtime/training/layer_error.h"
#include "tests/support/matrices.h"
#include "tests/support/tiny_model.h"

namespace bitbudget {

// A layer of 64 channels, a few of which have inputs that are 30 times as large as the others'.
struct UnevenLayer {
  UnevenLayer() : files(Options()), model(*Model::Load(files.path(), 1)), config(model->config()) {
    parameters = ReadLayer<float>(*model, 0);
    for (const int64_t channel : {3, 17, 40}) {
      parameters.attention_norm[channel] *= 30;
      parameters.mlp_norm[channel] *= 30;
      for (const int which : {kQMatrix, kKMatrix, kVMatrix, kGateMatrix, kUpMatrix}) {
        parameters.matrices[which].col(channel) /= 30;
      }
    }
    inputs = Inputs({40, 25, 50}, 1);
    held = Inputs({30, 30}, 2);
  }

  static TinyModelOptions Options() {
    TinyModelOptions options;
    options.hidden = 64;
    options.ffn = 96;
    options.dtype = kFormatF32;
    options.seed = 1;
    return options;
  }

  LayerInputs Inputs(std::vector<int64_t> lengths, uint64_t seed) const {
    int64_t rows = 0;
    for (const int64_t length : lengths) rows += length;
    const std::vector<float> values = GaussianValues(rows * config.hidden_size, 1, seed);
    return {std::move(lengths),
            Eigen::Map<const Matrix<float>>(values.data(), rows, config.hidden_size)};
  }

  LayerSample Sample() const { return {config, 0, parameters, inputs}; }

  TinyModel files;
  std::unique_ptr<Model> model;
  const ModelConfig& config;
  LayerParameters<float> parameters;
  LayerInputs inputs;
  LayerInputs held;
};

}  // namespace bitbudget

#endif  // BITBUDGET_TESTS_TRAINING_UNEVEN_LAYER_H_
