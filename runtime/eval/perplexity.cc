#include "runtime/eval/perplexity.h"

#include "absl/status/status.h"
#include "runtime/base/parallel.h"
#include "runtime/eval/forward.h"
#include "runtime/kernels/table.h"

namespace bitbudget {

absl::StatusOr<Evaluation> MeasureText(const Transformer& transformer,
                                       const WeightSet& weights,
                                       std::span<const std::vector<int32_t>> windows,
                                       int threads,
                                       Progress* progress) {
  const ModelConfig& config = transformer.model().config();
  Evaluation result(windows.size());
  std::vector<ForwardScratch> scratch(threads);
  progress->Begin("perplexity", static_cast<int64_t>(windows.size()));
  SharedProgress shared(progress);
  ParallelFor(threads, static_cast<int64_t>(windows.size()), [&](int64_t i, int worker) {
    if (progress->Interrupted()) return;
    ForwardScratch& ws = scratch[worker];
    // A window is a probe of which everything but the first token is completion.
    const Probe probe{windows[i], 1, {}};
    EmbedBatch(transformer, weights, {&probe, 1}, &ws.x);
    RunBlockStages(transformer, weights, {&probe, 1}, 1, ws.x.data(), &ws.workspace, {});
    ws.logits.Resize(probe.rows() * config.vocab_size);
    transformer.Logits(
        weights, ws.x.data(), config.hidden_size, probe.rows(), ws.logits.data(), &ws.workspace);
    ProbeResult& window = result[i];
    window.tokens = static_cast<int>(probe.rows());
    for (int64_t t = 0; t < probe.rows(); ++t) {
      const float* logits = ws.logits.data() + t * config.vocab_size;
      window.nll_sum += BoundedNats(Kernels().log_sum_exp(logits, config.vocab_size) -
                                    logits[probe.tokens[t + 1]]);
    }
    shared.Step();
  });
  if (progress->Interrupted()) return absl::CancelledError("interrupted");
  progress->End();
  return result;
}

}  // namespace bitbudget
