// The MLP half of a decoder layer.

#include "runtime/kernels/table.h"
#include "runtime/model/decoder/shared_input.h"
#include "runtime/model/decoder/transformer.h"

namespace bitbudget {

void Transformer::MlpStage(
    int layer, const WeightSet& weights, int64_t rows, float* x, TransformerWorkspace* ws) const {
  const ModelConfig& config = model_.config();
  const LayerVectors& vectors = weights.VectorsOf(model_, layer);
  const int64_t width = config.hidden_size;
  const int64_t inner = config.intermediate_size;
  if (AddsNothing(*weights.components[IdOf(layer, ComponentKind::kDown)], vectors.down_bias))
    return;
  ws->normed.Resize(rows * width);
  ws->gate.Resize(rows * inner);
  ws->up.Resize(rows * inner);
  ws->delta.Resize(rows * width);

  NormRows(x, width, vectors.mlp_norm, config.rms_norm_eps, rows, ws->normed.data());
  SharedInput input(IdOf(layer, ComponentKind::kGate), ws->normed.data(), rows, width, weights, ws);
  input.Multiply(
      *weights.components[IdOf(layer, ComponentKind::kGate)], vectors.gate_bias, ws->gate.data());
  input.Multiply(
      *weights.components[IdOf(layer, ComponentKind::kUp)], vectors.up_bias, ws->up.data());
  const auto activate =
      config.activation == Activation::kGeluTanh ? Kernels().gelu_tanh_mul : Kernels().silu_mul;
  activate(ws->gate.data(), ws->up.data(), rows * inner, ws->gate.data());
  SharedInput hidden(IdOf(layer, ComponentKind::kDown), ws->gate.data(), rows, inner, weights, ws);
  hidden.Multiply(
      *weights.components[IdOf(layer, ComponentKind::kDown)], vectors.down_bias, ws->delta.data());
  AddToStream(vectors.mlp_post_norm, rows, ws->delta.data(), x);
}

}  // namespace bitbudget
