#include "runtime/eval/forward.h"

#include <vector>

namespace bitbudget {

void EmbedBatch(const Transformer& transformer,
                const WeightSet& weights,
                std::span<const Probe> probes,
                AlignedBuffer<float>* x) {
  const int64_t width = transformer.model().config().hidden_size;
  int64_t rows = 0;
  for (const Probe& probe : probes) rows += probe.rows();
  x->Resize(rows * width);
  int64_t row = 0;
  for (const Probe& probe : probes) {
    transformer.Embed(weights,
                      std::span(probe.tokens).first(static_cast<size_t>(probe.rows())),
                      x->data() + row * width);
    row += probe.rows();
  }
}

void RunBlockStages(const Transformer& transformer,
                    const WeightSet& weights,
                    std::span<const Probe> probes,
                    int first_stage,
                    float* x,
                    TransformerWorkspace* workspace,
                    const std::function<void(int stage)>& before) {
  std::vector<SequenceRows> sequences;
  for (const Probe& probe : probes) sequences.push_back({probe.rows(), nullptr});
  const int last = NumStages(transformer.model().config()) - 1;
  for (int stage = first_stage; stage < last; ++stage) {
    if (before) before(stage);
    transformer.RunStage(stage, weights, sequences, x, workspace);
  }
  if (before) before(last);
}

}  // namespace bitbudget
