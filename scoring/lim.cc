#include "scoring/lim.h"

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/aligned_buffer.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/decoder/forward.h"

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

}  // namespace

absl::StatusOr<LayerScores> ScoreLim(const ScoreContext& context) {
  const Transformer& transformer = *context.transformer;
  const std::span<const std::vector<int32_t>> sequences = context.sequences;
  Progress* const progress = context.progress;
  AssignmentWeights reference = context.bank->Reference();
  WeightSource* const weights = &reference;
  const ModelConfig& config = transformer.model().config();
  const int64_t width = config.hidden_size;
  const size_t layers = static_cast<size_t>(config.num_hidden_layers);
  // Sums over sequences are in their order, so they do not depend on threads.
  struct Sequence {
    AlignedBuffer<float> x, layer_input, half_input;
    std::vector<double> layer, attention, mlp;
  };
  std::vector<Sequence> sums(sequences.size());
  for (size_t s = 0; s < sequences.size(); ++s) {
    const int64_t size = static_cast<int64_t>(sequences[s].size()) * width;
    sums[s].x.Resize(size);
    sums[s].layer_input.Resize(size);
    sums[s].half_input.Resize(size);
  }
  const auto body = [&](int stage, const WeightSet& set, int64_t item, ForwardScratch* scratch) {
    Sequence& sequence = sums[item];
    AlignedBuffer<float>& x = sequence.x;
    const int64_t rows = static_cast<int64_t>(sequences[item].size());
    if (stage == 0) {
      transformer.Embed(set, sequences[item], x.data());
      return;
    }
    const bool attention = stage % 2 == 1;
    AlignedBuffer<float>& before = attention ? sequence.layer_input : sequence.half_input;
    std::copy_n(x.data(), x.size(), before.data());
    const SequenceRows whole{rows, nullptr};
    transformer.RunStage(stage, set, {&whole, 1}, x.data(), &scratch->workspace);
    const auto cosines = [&](const AlignedBuffer<float>& from) {
      double sum = 0;
      for (int64_t row = 0; row < rows; ++row) {
        sum += Cosine(from.data() + row * width, x.data() + row * width, width);
      }
      return sum;
    };
    (attention ? sequence.attention : sequence.mlp).push_back(cosines(before));
    if (!attention) sequence.layer.push_back(cosines(sequence.layer_input));
  };
  const int stages = NumStages(config) - 1;  // without the head
  const int64_t items = static_cast<int64_t>(sequences.size());
  progress->Begin("LIM", items * stages);
  StageRunner runner(context.threads);
  BB_RETURN_IF_ERROR(runner.Run(weights, 0, stages, items, progress, /*report=*/true, body));
  progress->End();

  LayerScores scores;
  scores.scorer = "lim";
  scores.layers.resize(layers);
  std::vector<double> attention(layers);
  std::vector<double> mlp(layers);
  double tokens = 0;
  for (const auto& sequence : sequences) tokens += static_cast<double>(sequence.size());
  for (size_t layer = 0; layer < layers; ++layer) {
    for (const Sequence& sum : sums) {
      scores.layers[layer] -= sum.layer[layer] / tokens;
      attention[layer] -= sum.attention[layer] / tokens;
      mlp[layer] -= sum.mlp[layer] / tokens;
    }
    if (!std::isfinite(scores.layers[layer])) {
      return absl::InternalError(
          absl::StrCat("the residual stream is not finite after layer ", layer));
    }
  }
  scores.order = OrderByImportance(scores.layers, MostImportant::kLargest);
  scores.parts = {{"attention", std::move(attention)}, {"mlp", std::move(mlp)}};
  return scores;
}

}  // namespace bitbudget
