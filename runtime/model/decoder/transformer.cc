#include "runtime/model/decoder/transformer.h"

#include <glog/logging.h>

#include <algorithm>

#include "runtime/kernels/linear.h"
#include "runtime/kernels/table.h"
#include "runtime/kernels/token_rounding.h"

namespace bitbudget {
namespace {

// Components of a layer in ListComponents order.
enum LayerComponent { kLayerQ, kLayerK, kLayerV, kLayerO, kLayerGate, kLayerUp, kLayerDown };
constexpr int kComponentsPerLayer = 7;

ComponentId IdOf(int layer, LayerComponent component) {
  return 1 + layer * kComponentsPerLayer + component;
}

// The inputs x[m][k] of one or more products; packs them once per packing that is asked for.
class SharedInput {
 public:
  // `first`: the first component that takes them.
  SharedInput(ComponentId first,
              float* x,
              int64_t m,
              int64_t k,
              bool round,
              TransformerWorkspace* workspace)
      : x_(x), m_(m), k_(k), workspace_(workspace) {
    if (workspace->observe_input) workspace->observe_input(first, x, m, k);
    if (round) RoundActivationsInt16(x, k, m, k);
  }

  // y[m][n] = x W^T + bias
  void Multiply(const ComponentWeights& weights, std::span<const float> bias, float* y) {
    const WeightPanels& panels = weights.panels();
    Linear(Packed(panels.packing()), panels, y, panels.n, workspace_->threads);
    if (bias.empty()) return;
    for (int64_t row = 0; row < m_; ++row) {
      for (int64_t i = 0; i < panels.n; ++i) y[row * panels.n + i] += bias[i];
    }
  }

 private:
  const PackedActivations& Packed(const ActivationPacking& packing) {
    std::vector<PackedActivations>& all = workspace_->packed;
    for (size_t i = 0; i < ready_; ++i) {
      if (all[i].packing == packing) return all[i];
    }
    if (ready_ == all.size()) all.emplace_back();
    PackActivations(packing, x_, k_, m_, k_, &all[ready_]);
    return all[ready_++];
  }

  float* x_;
  int64_t m_;
  int64_t k_;
  TransformerWorkspace* workspace_;
  size_t ready_ = 0;  // the first entries of workspace_->packed hold x
};

void NormRows(const float* x,
              int64_t ldx,
              std::span<const float> weight,
              double eps,
              int64_t rows,
              float* out) {
  const int64_t width = static_cast<int64_t>(weight.size());
  for (int64_t row = 0; row < rows; ++row) {
    Kernels().rms_norm(
        x + row * ldx, weight.data(), static_cast<float>(eps), width, out + row * width);
  }
}

// Rounds every head of x[rows][outputs of the weights] to the bits of activations that its weights
// run with, if those are rounded per token.
void RoundHeads(const ComponentWeights& weights,
                const ModelConfig& config,
                int64_t rows,
                float* x) {
  const WeightPanels& panels = weights.panels();
  if (panels.token_bits == 0) return;
  const int64_t heads = rows * (panels.n / config.head_dim);
  RoundPerToken(x, config.head_dim, heads, config.head_dim, panels.token_bits);
}

// Whether a stage whose last product is this one leaves the stream as it is.
bool AddsNothing(const ComponentWeights& last, std::span<const float> bias) {
  return last.panels().path == Path::kNone && bias.empty();
}

}  // namespace

KvCache::KvCache(const ModelConfig& config, int64_t max_positions, int first_layer)
    : layers(config.num_hidden_layers) {
  for (KeyValuePanels& layer : std::span(layers).subspan(first_layer)) {
    layer.Reset(config.num_key_value_heads, config.head_dim, max_positions);
  }
}

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

void Transformer::AddToStream(std::span<const float> norm,
                              int64_t rows,
                              float* delta,
                              float* x) const {
  const ModelConfig& config = model_.config();
  const int64_t width = config.hidden_size;
  if (!norm.empty()) NormRows(delta, width, norm, config.rms_norm_eps, rows, delta);
  for (int64_t i = 0; i < rows * width; ++i) x[i] += delta[i];
}

void Transformer::AttentionStage(int layer,
                                 const WeightSet& weights,
                                 std::span<const SequenceRows> sequences,
                                 int64_t rows,
                                 float* x,
                                 TransformerWorkspace* ws) const {
  const ModelConfig& config = model_.config();
  const LayerVectors& vectors = model_.layer(layer);
  const int64_t width = config.hidden_size;
  const bool adds_nothing = AddsNothing(*weights.components[IdOf(layer, kLayerO)], vectors.o_bias);
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
  SharedInput input(
      IdOf(layer, kLayerQ), ws->normed.data(), rows, width, weights.round_activations, ws);
  input.Multiply(*weights.components[IdOf(layer, kLayerQ)], vectors.q_bias, ws->q.data());
  input.Multiply(*weights.components[IdOf(layer, kLayerK)], vectors.k_bias, ws->k.data());
  input.Multiply(*weights.components[IdOf(layer, kLayerV)], vectors.v_bias, ws->v.data());

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
    RoundHeads(*weights.components[IdOf(layer, kLayerQ)], config, sequence.rows, q);
    RoundHeads(*weights.components[IdOf(layer, kLayerK)], config, sequence.rows, k);
    RoundHeads(*weights.components[IdOf(layer, kLayerV)], config, sequence.rows, v);
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
  SharedInput context(IdOf(layer, kLayerO),
                      ws->context.data(),
                      rows,
                      config.q_size(),
                      weights.round_activations,
                      ws);
  context.Multiply(*weights.components[IdOf(layer, kLayerO)], vectors.o_bias, ws->delta.data());
  AddToStream(vectors.attention_post_norm, rows, ws->delta.data(), x);
}

void Transformer::MlpStage(
    int layer, const WeightSet& weights, int64_t rows, float* x, TransformerWorkspace* ws) const {
  const ModelConfig& config = model_.config();
  const LayerVectors& vectors = model_.layer(layer);
  const int64_t width = config.hidden_size;
  const int64_t inner = config.intermediate_size;
  if (AddsNothing(*weights.components[IdOf(layer, kLayerDown)], vectors.down_bias)) return;
  ws->normed.Resize(rows * width);
  ws->gate.Resize(rows * inner);
  ws->up.Resize(rows * inner);
  ws->delta.Resize(rows * width);

  NormRows(x, width, vectors.mlp_norm, config.rms_norm_eps, rows, ws->normed.data());
  SharedInput input(
      IdOf(layer, kLayerGate), ws->normed.data(), rows, width, weights.round_activations, ws);
  input.Multiply(*weights.components[IdOf(layer, kLayerGate)], vectors.gate_bias, ws->gate.data());
  input.Multiply(*weights.components[IdOf(layer, kLayerUp)], vectors.up_bias, ws->up.data());
  const auto activate =
      config.activation == Activation::kGeluTanh ? Kernels().gelu_tanh_mul : Kernels().silu_mul;
  activate(ws->gate.data(), ws->up.data(), rows * inner, ws->gate.data());
  SharedInput hidden(
      IdOf(layer, kLayerDown), ws->gate.data(), rows, inner, weights.round_activations, ws);
  hidden.Multiply(
      *weights.components[IdOf(layer, kLayerDown)], vectors.down_bias, ws->delta.data());
  AddToStream(vectors.mlp_post_norm, rows, ws->delta.data(), x);
}

void Transformer::FinalNorm(const float* x, int64_t ldx, int64_t rows, float* out) const {
  NormRows(x, ldx, model_.final_norm(), model_.config().rms_norm_eps, rows, out);
}

void Transformer::Logits(const WeightSet& weights,
                         const float* x,
                         int64_t ldx,
                         int64_t rows,
                         float* logits,
                         TransformerWorkspace* ws) const {
  const ModelConfig& config = model_.config();
  ws->normed.Resize(rows * config.hidden_size);
  FinalNorm(x, ldx, rows, ws->normed.data());
  SharedInput input(
      model_.head(), ws->normed.data(), rows, config.hidden_size, weights.round_activations, ws);
  input.Multiply(*weights.components[model_.head()], {}, logits);
  if (config.final_soft_cap > 0) {
    Kernels().soft_cap(
        logits, 1, static_cast<float>(config.final_soft_cap), rows * config.vocab_size);
  }
}

}  // namespace bitbudget
