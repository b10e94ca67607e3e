#include "scoring/lim.h"

#include <cmath>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/parallel.h"
#include "runtime/eval/forward.h"

namespace bitbudget {
namespace {

double Cosine(const float* a, const float* b, int64_t n) {
  double dot = 0;
  double aa = 0;
  double bb = 0;
  for (int64_t i = 0; i < n; ++i) {
    dot += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return aa > 0 && bb > 0 ? dot / (std::sqrt(aa) * std::sqrt(bb)) : (aa + bb) * 0;
}

// Sums over the tokens of one sequence.
struct SequenceCosines {
  std::vector<double> block, attention, mlp;
};

}  // namespace

absl::StatusOr<BlockScores> ScoreLim(const Transformer& transformer,
                                     const WeightSet& weights,
                                     std::span<const std::vector<int32_t>> sequences,
                                     int threads,
                                     Progress* progress) {
  const ModelConfig& config = transformer.model().config();
  const int64_t width = config.hidden_size;
  const size_t blocks = static_cast<size_t>(config.num_hidden_layers);
  std::vector<SequenceCosines> sums(sequences.size());
  struct Scratch {
    ForwardScratch forward;
    AlignedBuffer<float> block_input, half_input;
  };
  std::vector<Scratch> scratch(threads);
  progress->Begin("LIM", static_cast<int64_t>(sequences.size()));
  SharedProgress shared(progress);
  ParallelFor(threads, static_cast<int64_t>(sequences.size()), [&](int64_t s, int worker) {
    if (progress->Interrupted()) return;
    Scratch& ws = scratch[worker];
    sums[s] = {
        std::vector<double>(blocks), std::vector<double>(blocks), std::vector<double>(blocks)};
    const int64_t rows = static_cast<int64_t>(sequences[s].size());
    AlignedBuffer<float>& x = ws.forward.x;
    x.Resize(rows * width);
    ws.block_input.Resize(rows * width);
    ws.half_input.Resize(rows * width);
    const size_t bytes = static_cast<size_t>(rows * width) * sizeof(float);
    transformer.Embed(weights, sequences[s], x.data());
    const SequenceRows sequence{rows, nullptr};
    const auto add_cosines = [&](const AlignedBuffer<float>& before, double* sum) {
      for (int64_t row = 0; row < rows; ++row) {
        *sum += Cosine(before.data() + row * width, x.data() + row * width, width);
      }
    };
    for (size_t block = 0; block < blocks; ++block) {
      const int stage = 1 + 2 * static_cast<int>(block);
      std::memcpy(ws.block_input.data(), x.data(), bytes);
      transformer.RunStage(stage, weights, {&sequence, 1}, x.data(), &ws.forward.workspace);
      add_cosines(ws.block_input, &sums[s].attention[block]);
      std::memcpy(ws.half_input.data(), x.data(), bytes);
      transformer.RunStage(stage + 1, weights, {&sequence, 1}, x.data(), &ws.forward.workspace);
      add_cosines(ws.half_input, &sums[s].mlp[block]);
      add_cosines(ws.block_input, &sums[s].block[block]);
    }
    shared.Step();
  });
  if (progress->Interrupted()) return absl::CancelledError("interrupted");
  progress->End();

  BlockScores scores;
  scores.scorer = "lim";
  scores.blocks.resize(blocks);
  scores.attention.resize(blocks);
  scores.mlp.resize(blocks);
  double tokens = 0;
  for (const auto& sequence : sequences) tokens += static_cast<double>(sequence.size());
  for (size_t block = 0; block < blocks; ++block) {
    for (const SequenceCosines& sum : sums) {
      scores.blocks[block] -= sum.block[block] / tokens;
      scores.attention[block] -= sum.attention[block] / tokens;
      scores.mlp[block] -= sum.mlp[block] / tokens;
    }
    if (!std::isfinite(scores.blocks[block])) {
      return absl::InternalError(
          absl::StrCat("the residual stream is not finite after block ", block));
    }
  }
  scores.order = OrderByImportance(scores.blocks, /*larger_is_important=*/true);
  return scores;
}

}  // namespace bitbudget
