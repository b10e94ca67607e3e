// The attention half of a decoder layer.

#include <glog/logging.h>

#include <algorithm>

#include "runtime/kernels/table.h"
#include "runtime/kernels/token_rounding.h"
#include "runtime/model/decoder/shared_input.h"
#include "runtime/model/decoder/transformer.h"

namespace bitbudget {
namespace {

// Rounds every head of x[rows][outputs of the weights] to its weights' activation bits where
// activations are rounded per token.
void RoundHeads(const ComponentWeights& weights,
                const ModelConfig& config,
                int64_t rows,
                float* x) {
  const WeightPanels& panels = weights.panels();
  if (panels.token_bits == 0) return;
  const int64_t heads = rows * (panels.n / config.head_dim);
  RoundPerToken(x, config.head_dim, heads, config.head_dim, panels.token_bits);
}

}  // namespace

void Transformer::PrepareHeads(const RopeTable& rope,
                               std::span<const float> norm,
                               int64_t heads,
                               int64_t count,
                               int64_t first_position,
                               float* x) const {
  const ModelConfig& config = model_.config();
  if (!norm.empty()) {
    NormRows(x, config.head_dim, norm, config.rms_norm_eps, count * heads, x);
  }
  const auto rotate = Kernels().rotate_half;
  for (int64_t row = 0; row < count; ++row) {
    const float* cos = rope.Cos(first_position + row);
    const float* sin = rope.Sin(first_position + row);
    for (int64_t head = 0; head < heads; ++head, x += config.head_dim) {
      rotate(x, cos, sin, rope.half);
    }
  }
}

void Transformer::AttentionStage(int layer,
                                 const WeightSet& weights,
                                 std::span<const SequenceRows> sequences,
                                 int64_t rows,
                                 float* x,
                                 TransformerWorkspace* ws) const {
  const ModelConfig& config = model_.config();
  const LayerVectors& vectors = weights.VectorsOf(model_, layer);
  const int64_t width = config.hidden_size;
  const bool adds_nothing =
      AddsNothing(*weights.components[IdOf(layer, ComponentKind::kO)], vectors.o_bias);
  // Caches still want keys and values: their length is the number of positions.
  if (adds_nothing &&
      std::none_of(sequences.begin(), sequences.end(), [](const SequenceRows& sequence) {
        return sequence.cache != nullptr;
      })) {
    return;
  }
  ws->normed.Resize(rows * width);
  ws->q.Resize(rows * config.q_size());
  ws->k.Resize(rows * config.kv_size());
  ws->v.Resize(rows * config.kv_size());
  ws->context.Resize(rows * config.q_size());
  ws->delta.Resize(rows * width);

  NormRows(x, width, vectors.attention_norm, config.rms_norm_eps, rows, ws->normed.data());
  SharedInput input(IdOf(layer, ComponentKind::kQ), ws->normed.data(), rows, width, weights, ws);
  input.Multiply(*weights.components[IdOf(layer, ComponentKind::kQ)], vectors.q_bias, ws->q.data());
  input.Multiply(*weights.components[IdOf(layer, ComponentKind::kK)], vectors.k_bias, ws->k.data());
  input.Multiply(*weights.components[IdOf(layer, ComponentKind::kV)], vectors.v_bias, ws->v.data());

  const RopeTable& rope = config.Slides(layer) && sliding_rope_.half > 0 ? sliding_rope_ : rope_;
  const AttentionParameters attention = {static_cast<float>(config.attention_scale),
                                         static_cast<float>(config.attention_soft_cap),
                                         config.Window(layer)};
  int64_t row = 0;
  for (const SequenceRows& sequence : sequences) {
    if (sequence.cache == nullptr) {
      ws->transient.Reset(config.num_key_value_heads, config.head_dim, sequence.rows);
    }
    KeyValuePanels& kv = sequence.cache == nullptr ? ws->transient : sequence.cache->layers[layer];
    const int64_t first = kv.size();
    CHECK_LE(first + sequence.rows, max_positions_);
    float* q = ws->q.data() + row * config.q_size();
    float* k = ws->k.data() + row * config.kv_size();
    float* v = ws->v.data() + row * config.kv_size();
    PrepareHeads(rope, vectors.q_norm, config.num_attention_heads, sequence.rows, first, q);
    PrepareHeads(rope, vectors.k_norm, config.num_key_value_heads, sequence.rows, first, k);
    RoundHeads(*weights.components[IdOf(layer, ComponentKind::kQ)], config, sequence.rows, q);
    RoundHeads(*weights.components[IdOf(layer, ComponentKind::kK)], config, sequence.rows, k);
    RoundHeads(*weights.components[IdOf(layer, ComponentKind::kV)], config, sequence.rows, v);
    kv.Append(k, v, config.kv_size(), sequence.rows);
    Attention(attention,
              q,
              config.q_size(),
              kv,
              config.num_attention_heads,
              sequence.rows,
              ws->context.data() + row * config.q_size(),
              config.q_size(),
              &ws->attention);
    row += sequence.rows;
  }

  if (adds_nothing) return;
  SharedInput context(
      IdOf(layer, ComponentKind::kO), ws->context.data(), rows, config.q_size(), weights, ws);
  context.Multiply(
      *weights.components[IdOf(layer, ComponentKind::kO)], vectors.o_bias, ws->delta.data());
  AddToStream(vectors.attention_post_norm, rows, ws->delta.data(), x);
}

}  // namespace bitbudget
