#include "runtime/eval/perplexity.h"

#include <algorithm>

#include "runtime/base/status_macros.h"
#include "runtime/eval/reference.h"
#include "runtime/kernels/table.h"
#include "runtime/model/decoder/forward.h"

namespace bitbudget {

absl::StatusOr<Evaluation> MeasureText(const Transformer& transformer,
                                       WeightSource* weights,
                                       std::span<const std::vector<int32_t>> windows,
                                       int threads,
                                       Progress* progress) {
  if (windows.empty()) return Evaluation();
  const ModelConfig& config = transformer.model().config();
  const int64_t width = config.hidden_size;
  const int64_t vocab = config.vocab_size;
  // A window is a probe of which everything but the first token is completion.
  std::vector<Probe> probes;
  std::vector<int64_t> first_row = {0};
  for (const std::vector<int32_t>& window : windows) {
    probes.push_back({window, 1, {}, {}});
    first_row.push_back(first_row.back() + probes.back().rows());
  }
  const int stages = NumStages(config);
  const int64_t items = static_cast<int64_t>(windows.size());
  AlignedBuffer<float> x(first_row.back() * width);
  Evaluation result(windows.size());
  StageRunner runner(threads);
  progress->Begin("perplexity", items * stages);
  const auto body = [&](int stage, const WeightSet& set, int64_t i, ForwardScratch* scratch) {
    const Probe& probe = probes[i];
    float* probe_x = x.data() + first_row[i] * width;
    if (stage + 1 < stages) {
      RunProbes(transformer, stage, set, {&probe, 1}, probe_x, &scratch->workspace);
      return;
    }
    result[i].tokens = static_cast<int>(probe.rows());
    for (int64_t first = 0; first < probe.rows(); first += kLogitRows) {
      const int64_t count = std::min(kLogitRows, probe.rows() - first);
      scratch->logits.Resize(count * vocab);
      transformer.Logits(
          set, probe_x + first * width, width, count, scratch->logits.data(), &scratch->workspace);
      for (int64_t t = 0; t < count; ++t) {
        const float* logits = scratch->logits.data() + t * vocab;
        result[i].nll_sum +=
            BoundedNats(Kernels().log_sum_exp(logits, vocab) - logits[probe.tokens[first + t + 1]]);
      }
    }
  };
  BB_RETURN_IF_ERROR(runner.Run(weights, 0, stages, items, progress, /*report=*/true, body));
  progress->End();
  return result;
}

}  // namespace bitbudget
