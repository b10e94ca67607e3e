#include "runtime/model/decoder/shared_input.h"

#include <vector>

#include "runtime/kernels/linear.h"
#include "runtime/kernels/table.h"

namespace bitbudget {

SharedInput::SharedInput(ComponentId first,
                         float* x,
                         int64_t m,
                         int64_t k,
                         const WeightSet& weights,
                         TransformerWorkspace* workspace)
    : x_(x), m_(m), k_(k), round_stored_(weights.round_stored), workspace_(workspace) {
  if (workspace->observe_input) workspace->observe_input(first, x, m, k);
  if (weights.round_activations) RoundActivationsInt16(x, k, m, k);
}

void SharedInput::Multiply(const ComponentWeights& weights, std::span<const float> bias, float* y) {
  const WeightPanels& panels = weights.panels();
  ActivationPacking packing = panels.packing();
  if (round_stored_ && panels.path == Path::kF32 && packing.rounding == InputRounding::kNone) {
    packing.rounding = weights.stored_rounding();
  }
  Linear(Packed(packing), panels, y, panels.n, workspace_->threads);
  if (bias.empty()) return;
  for (int64_t row = 0; row < m_; ++row) {
    for (int64_t i = 0; i < panels.n; ++i) y[row * panels.n + i] += bias[i];
  }
}

const PackedActivations& SharedInput::Packed(const ActivationPacking& packing) {
  std::vector<PackedActivations>& all = workspace_->packed;
  for (size_t i = 0; i < ready_; ++i) {
    if (all[i].packing == packing) return all[i];
  }
  if (ready_ == all.size()) all.emplace_back();
  PackActivations(packing, x_, k_, m_, k_, &all[ready_]);
  return all[ready_++];
}

bool AddsNothing(const ComponentWeights& last, std::span<const float> bias) {
  return last.panels().path == Path::kNone && bias.empty();
}

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

}  // namespace bitbudget
