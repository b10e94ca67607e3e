#include "runtime/training/layer_scales.h"

#include <glog/logging.h>

namespace bitbudget {
namespace {

// The scale of a channel; 1 where there are none.
double At(const std::vector<float>& scales, int64_t channel) {
  return scales.empty() ? 1.0 : static_cast<double>(scales[channel]);
}

double RowScale(const ModelConfig& config, const LayerScales& scales, int which, int64_t row) {
  switch (which) {
    case kQMatrix:
      return 1 / At(scales.query_key, KeyValueChannel(config, row));
    case kKMatrix:
      return At(scales.query_key, row);
    case kVMatrix:
      return 1 / At(scales.value, row);
    default:
      return 1;
  }
}

double ColumnScale(const ModelConfig& config, const LayerScales& scales, int which, int64_t col) {
  switch (which) {
    case kQMatrix:
    case kKMatrix:
    case kVMatrix:
      return At(scales.attention_input, col);
    case kOMatrix:
      return At(scales.value, KeyValueChannel(config, col));
    case kGateMatrix:
    case kUpMatrix:
      return At(scales.mlp_input, col);
    default:
      return 1;
  }
}

void Divide(const std::vector<float>& scales, RowVector<float>* norm) {
  for (int64_t i = 0; i < norm->size(); ++i) {
    (*norm)[i] = static_cast<float>(static_cast<double>((*norm)[i]) / At(scales, i));
  }
}

}  // namespace

bool HasQueryKeyScales(const ModelConfig& config) { return !config.qk_norm; }
bool HasValueShift(const ModelConfig& config) { return config.qkv_bias && config.o_bias; }

int64_t KeyValueChannel(const ModelConfig& config, int64_t c) {
  const int64_t group = config.num_attention_heads / config.num_key_value_heads;
  return c / config.head_dim / group * config.head_dim + c % config.head_dim;
}

void FoldScales(const ModelConfig& config,
                const LayerScales& scales,
                LayerParameters<float>* layer) {
  CHECK(scales.query_key.empty() || HasQueryKeyScales(config));
  CHECK(scales.value_shift.empty() || HasValueShift(config));
  if (!scales.value_shift.empty()) {
    const Matrix<float>& o = layer->matrices[kOMatrix];
    for (int64_t row = 0; row < o.rows(); ++row) {
      double shift = 0;
      for (int64_t c = 0; c < o.cols(); ++c) {
        shift += static_cast<double>(o(row, c)) * scales.value_shift[KeyValueChannel(config, c)];
      }
      layer->biases[kOMatrix][row] =
          static_cast<float>(static_cast<double>(layer->biases[kOMatrix][row]) + shift);
    }
    for (int64_t c = 0; c < layer->biases[kVMatrix].size(); ++c) {
      layer->biases[kVMatrix][c] -= scales.value_shift[c];
    }
  }
  for (int which = 0; which < kLayerMatrices; ++which) {
    Matrix<float>& matrix = layer->matrices[which];
    std::vector<double> columns(matrix.cols());
    for (int64_t col = 0; col < matrix.cols(); ++col) {
      columns[col] = ColumnScale(config, scales, which, col);
    }
    for (int64_t row = 0; row < matrix.rows(); ++row) {
      const double scale = RowScale(config, scales, which, row);
      for (int64_t col = 0; col < matrix.cols(); ++col) {
        matrix(row, col) =
            static_cast<float>(static_cast<double>(matrix(row, col)) * (scale * columns[col]));
      }
      RowVector<float>& bias = layer->biases[which];
      if (bias.size() > 0) bias[row] = static_cast<float>(static_cast<double>(bias[row]) * scale);
    }
  }
  Divide(scales.attention_input, &layer->attention_norm);
  Divide(scales.mlp_input, &layer->mlp_norm);
}

ScaleGradient LogScaleGradient(const ModelConfig& config,
                               const LayerParameters<float>& folded,
                               const LayerParameters<float>& gradient) {
  ScaleGradient out;
  out.attention_input.resize(config.hidden_size);
  out.mlp_input.resize(config.hidden_size);
  out.value.resize(config.kv_size());
  if (HasQueryKeyScales(config)) out.query_key.resize(config.kv_size());
  for (int which = 0; which < kLayerMatrices; ++which) {
    const Matrix<float>& matrix = folded.matrices[which];
    const Matrix<float>& slope = gradient.matrices[which];
    std::vector<double> columns(matrix.cols());
    for (int64_t row = 0; row < matrix.rows(); ++row) {
      double sum = 0;
      for (int64_t col = 0; col < matrix.cols(); ++col) {
        const double product = static_cast<double>(matrix(row, col)) * slope(row, col);
        sum += product;
        columns[col] += product;
      }
      if (folded.biases[which].size() > 0) {
        sum += static_cast<double>(folded.biases[which][row]) * gradient.biases[which][row];
      }
      if (which == kVMatrix) out.value[row] -= sum;
      if (out.query_key.empty()) continue;
      if (which == kQMatrix) out.query_key[KeyValueChannel(config, row)] -= sum;
      if (which == kKMatrix) out.query_key[row] += sum;
    }
    for (int64_t col = 0; col < matrix.cols(); ++col) {
      if (which <= kVMatrix) out.attention_input[col] += columns[col];
      if (which == kOMatrix) out.value[KeyValueChannel(config, col)] += columns[col];
      if (which == kGateMatrix || which == kUpMatrix) out.mlp_input[col] += columns[col];
    }
  }
  for (int64_t i = 0; i < config.hidden_size; ++i) {
    out.attention_input[i] -=
        static_cast<double>(folded.attention_norm[i]) * gradient.attention_norm[i];
    out.mlp_input[i] -= static_cast<double>(folded.mlp_norm[i]) * gradient.mlp_norm[i];
  }
  return out;
}

}  // namespace bitbudget
