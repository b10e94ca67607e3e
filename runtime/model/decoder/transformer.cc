#include "runtime/model/decoder/transformer.h"

#include <glog/logging.h>

#include "runtime/kernels/table.h"
#include "runtime/model/decoder/shared_input.h"

namespace bitbudget {
Transformer::Transformer(const Model& model, int64_t max_positions)
    : model_(model), max_positions_(max_positions) {
  const ModelConfig& config = model.config();
  rope_ = RopeTable(config.rope_theta, config.rope_scaling, config.rotary_dim, max_positions);
  if (config.sliding_rope_theta.has_value()) {
    sliding_rope_ =
        RopeTable(*config.sliding_rope_theta, RopeScaling(), config.rotary_dim, max_positions);
  }
}

void Transformer::Embed(const WeightSet& weights, std::span<const int32_t> tokens, float* x) const {
  const ComponentWeights& embedding = *weights.components[0];
  const int64_t width = model_.config().hidden_size;
  const float scale = model_.config().embedding_scale;
  for (const int32_t token : tokens) {
    CHECK_GE(token, 0);
    CHECK_LT(token, model_.config().vocab_size);
    embedding.ReadRow(token, {x, static_cast<size_t>(width)});
    for (int64_t i = 0; i < width; ++i) x[i] *= scale;
    x += width;
  }
}

void Transformer::RunStage(int stage,
                           const WeightSet& weights,
                           std::span<const SequenceRows> sequences,
                           float* x,
                           TransformerWorkspace* workspace) const {
  int64_t rows = 0;
  for (const SequenceRows& sequence : sequences) rows += sequence.rows;
  const int layer = (stage - 1) / 2;
  CHECK_GE(stage, 1);
  CHECK_LT(layer, model_.config().num_hidden_layers);
  if (stage % 2 == 1) {
    AttentionStage(layer, weights, sequences, rows, x, workspace);
  } else {
    MlpStage(layer, weights, rows, x, workspace);
  }
}

void Transformer::AddToStream(std::span<const float> norm,
                              int64_t rows,
                              float* delta,
                              float* x) const {
  const ModelConfig& config = model_.config();
  const int64_t width = config.hidden_size;
  if (!norm.empty()) NormRows(delta, width, norm, config.rms_norm_eps, rows, delta);
  for (int64_t i = 0; i < rows * width; ++i) x[i] += delta[i];
}

void Transformer::FinalNorm(
    std::span<const float> norm, const float* x, int64_t ldx, int64_t rows, float* out) const {
  NormRows(x, ldx, norm, model_.config().rms_norm_eps, rows, out);
}

void Transformer::Logits(const WeightSet& weights,
                         const float* x,
                         int64_t ldx,
                         int64_t rows,
                         float* logits,
                         TransformerWorkspace* ws) const {
  const ModelConfig& config = model_.config();
  ws->normed.Resize(rows * config.hidden_size);
  FinalNorm(weights.FinalNormOf(model_), x, ldx, rows, ws->normed.data());
  SharedInput input(model_.head(), ws->normed.data(), rows, config.hidden_size, weights, ws);
  input.Multiply(*weights.components[model_.head()], {}, logits);
  if (config.final_soft_cap > 0) {
    Kernels().soft_cap(
        logits, 1, static_cast<float>(config.final_soft_cap), rows * config.vocab_size);
  }
}

}  // namespace bitbudget
