#include "scoring/lim.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/aligned_buffer.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/decoder/token_pass.h"

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

// Sums, by sequence and layer, the cosines across layers and their halves.
class Cosines final : public PassObserver {
 public:
  struct Sums {
    std::vector<double> layer, attention, mlp;  // by layer
  };

  Cosines(const TokenPass& pass, const ModelConfig& config)
      : pass_(pass),
        head_(NumStages(config) - 1),
        sums_(pass.sequences()),
        layer_input_(pass.total_rows() * config.hidden_size),
        half_input_(pass.total_rows() * config.hidden_size) {}

  PassNeeds Needs() const override { return {.end_stage = head_}; }

  void Stream(int stage, const ObservedRows& x) override {
    Sums& sums = sums_[x.sequence];
    const int64_t at = pass_.FirstRow(x.sequence) * x.width;
    float* const layer_input = layer_input_.data() + at;
    float* const half_input = half_input_.data() + at;
    if (stage % 2 == 0) {  // between the halves of a layer
      sums.attention.push_back(Sum(layer_input, x));
      std::copy_n(x.values, x.rows * x.width, half_input);
      return;
    }
    if (stage > 1) {
      sums.mlp.push_back(Sum(half_input, x));
      sums.layer.push_back(Sum(layer_input, x));
    }
    std::copy_n(x.values, x.rows * x.width, layer_input);
  }

  const std::vector<Sums>& sums() const { return sums_; }

 private:
  static double Sum(const float* before, const ObservedRows& x) {
    double sum = 0;
    for (int64_t row = 0; row < x.rows; ++row) {
      sum += Cosine(before + row * x.width, x.values + row * x.width, x.width);
    }
    return sum;
  }

  const TokenPass& pass_;
  const int head_;
  std::vector<Sums> sums_;            // by sequence
  AlignedBuffer<float> layer_input_;  // [rows][hidden]: ahead of the layer at hand
  AlignedBuffer<float> half_input_;   // ahead of its MLP
};

}  // namespace

absl::StatusOr<LayerScores> ScoreLim(const ScoreContext& context) {
  const ModelConfig& config = context.model->config();
  TokenPass pass(*context.transformer, context.sequences, context.threads);
  Cosines cosines(pass, config);
  AssignmentWeights reference = context.bank->Reference();
  BB_RETURN_IF_ERROR(pass.Observe(&reference, &cosines, "LIM", context.progress));

  const size_t layers = static_cast<size_t>(config.num_hidden_layers);
  std::vector<double> attention(layers);
  std::vector<double> mlp(layers);
  LayerScores scores;
  scores.scorer = "lim";
  scores.layers.resize(layers);
  const double tokens = static_cast<double>(pass.total_rows());
  for (size_t layer = 0; layer < layers; ++layer) {
    for (const Cosines::Sums& sums : cosines.sums()) {  // in order: not as threads have them
      scores.layers[layer] -= sums.layer[layer] / tokens;
      attention[layer] -= sums.attention[layer] / tokens;
      mlp[layer] -= sums.mlp[layer] / tokens;
    }
    if (!std::isfinite(scores.layers[layer])) {
      return absl::InternalError(
          absl::StrCat("the residual stream is not finite after layer ", layer));
    }
  }
  scores.parts = {{"attention", std::move(attention)}, {"mlp", std::move(mlp)}};
  scores.order = OrderByImportance(scores.layers, MostImportant::kLargest);
  return scores;
}

}  // namespace bitbudget
