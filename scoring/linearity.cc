#include "scoring/linearity.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "runtime/base/aligned_buffer.h"
#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"
#include "runtime/eval/metrics.h"
#include "runtime/kernels/table.h"
#include "runtime/model/decoder/token_pass.h"
#include "runtime/training/encoded_model.h"
#include "scoring/format_costs.h"

namespace bitbudget {
namespace {

constexpr uint64_t kNoiseStream = 0x6e6f6973;  // of the seed

using Stream = AlignedBuffer<float>;  // [rows of all sequences][hidden]

// The reference's weights but for one component.
class OneReplaced final : public WeightSource {
 public:
  OneReplaced(EncodingBank* bank, ComponentId id, const ComponentWeights* weights)
      : reference_(bank->Reference()), id_(id), weights_(weights) {}

  absl::StatusOr<WeightLease> Pin(int first, int end, int threads) override {
    BB_ASSIGN_OR_RETURN(WeightLease lease, reference_.Pin(first, end, threads));
    WeightSet set = lease.set();
    if (set.components[id_] != nullptr) set.components[id_] = weights_;
    const int pinned_end = lease.end();
    const auto pinned = std::make_shared<WeightLease>(std::move(lease));
    return WeightLease(std::move(set), pinned_end, [pinned] {});
  }

 private:
  AssignmentWeights reference_;
  const ComponentId id_;
  const ComponentWeights* const weights_;
};

// The weighted mean of KL(original || what runs).
class Divergence final : public PassObserver {
 public:
  Divergence(const ScoreContext& context,
             const TokenPass& pass,
             const Distillation<float>::Reference& original)
      : end_stage_(NumStages(context.model->config())),
        weights_(context.row_weights),
        pass_(pass),
        original_(original),
        sums_(pass.sequences()) {}

  PassNeeds Needs() const override { return {.end_stage = end_stage_, .logits = true}; }

  void Logits(const ObservedRows& logits) override {
    const int64_t first = pass_.FirstRow(logits.sequence) + logits.first;
    const Matrix<float> original = original_(first, logits.rows);
    for (int64_t i = 0; i < logits.rows; ++i) {
      const double weight = weights_.empty() ? 1.0 : weights_[first + i];
      const float* const p = original.data() + i * logits.width;
      const float* const q = logits.values + i * logits.width;
      const double p_lse = Kernels().log_sum_exp(p, logits.width);
      const double q_lse = Kernels().log_sum_exp(q, logits.width);
      const double kl = Kernels().kl_divergence(p, p_lse, q, q_lse, logits.width);
      sums_[logits.sequence] += weight * BoundedNats(kl);
    }
  }

  double Mean() const {
    const double rows = weights_.empty() ? static_cast<double>(pass_.total_rows())
                                         : std::accumulate(weights_.begin(), weights_.end(), 0.0);
    return std::accumulate(sums_.begin(), sums_.end(), 0.0) / rows;
  }

 private:
  const int end_stage_;
  const std::span<const float> weights_;
  const TokenPass& pass_;
  const Distillation<float>::Reference& original_;
  std::vector<double> sums_;  // by sequence
};

class NoiseInsertion {
 public:
  explicit NoiseInsertion(const ScoreContext& context)
      : context_(context),
        pass_(*context.transformer, context.sequences, context.threads),
        costs_(NoCosts(context)) {}

  absl::StatusOr<FormatCosts> Costs() {
    BB_ASSIGN_OR_RETURN(
        const std::unique_ptr<OriginalOutputs> original,
        OriginalOutputs::Create(
            *context_.model, context_.sequences, context_.threads, context_.progress));
    std::vector<int64_t> all(context_.sequences.size());
    std::iota(all.begin(), all.end(), 0);
    original_ = original->LogitsOf(all);
    context_.progress->Begin("noise insertion",
                             static_cast<int64_t>(costs_.size() * std::size(kLinearityNoise)));
    const ModelConfig& config = context_.model->config();
    Stream x(pass_.total_rows() * config.hidden_size);  // ahead of the stage
    AssignmentWeights reference = context_.bank->Reference();
    const int head = NumStages(config) - 1;
    for (int stage = 0; stage <= head; ++stage) {
      for (const ComponentId id : StageComponents(stage, config)) {
        if (stage > 0 && id == 0) continue;  // a tied embedding, both of whose uses were seen to
        BB_RETURN_IF_ERROR(CostsOf(id, stage, x));
      }
      if (stage == head) break;
      BB_RETURN_IF_ERROR(pass_.Advance(&reference, stage, stage + 1, x.data(), context_.progress));
    }
    context_.progress->End();
    return std::move(costs_);
  }

 private:
  absl::Status CostsOf(ComponentId id, int stage, const Stream& x) {
    const Matrix<float> stored = ReadMatrix(*context_.model, id);
    const double squares = Dot(stored, stored, context_.threads);
    if (squares == 0) return absl::OkStatus();
    double with_noise = 0;
    double of_noise = 0;
    for (size_t level = 0; level < std::size(kLinearityNoise); ++level) {
      const double t2 = kLinearityNoise[level];
      BB_ASSIGN_OR_RETURN(const double divergence,
                          DivergenceOf(id, stage, Noisy(stored, id, level, t2 * squares), x));
      with_noise += divergence * t2;
      of_noise += t2 * t2;
      context_.progress->Update(++runs_);
    }
    const double alpha = with_noise / of_noise;
    return ForEachChange(context_, id, [&](size_t i, const Matrix<float>& change) {
      costs_[id][i] = alpha * Dot(change, change, context_.threads) / squares;
    });
  }

  // Weights with normal noise of this squared norm.
  Matrix<float> Noisy(const Matrix<float>& stored,
                      ComponentId id,
                      size_t level,
                      double squares) const {
    Random random(context_.seed, {kNoiseStream, static_cast<uint64_t>(id), level});
    Matrix<float> noise(stored.rows(), stored.cols());
    for (int64_t i = 0; i < noise.size(); ++i) {
      noise.data()[i] = static_cast<float>(random.Normal());
    }
    const double scale = std::sqrt(squares / Dot(noise, noise, context_.threads));
    return stored + noise * static_cast<float>(scale);
  }

  absl::StatusOr<double> DivergenceOf(ComponentId id,
                                      int stage,
                                      const Matrix<float>& weights,
                                      const Stream& x) {
    Encoding encoding{kFormatF32, weights.rows(), weights.cols(), {}};
    const auto bytes = std::as_bytes(std::span(weights.data(), weights.size()));
    for (const std::byte byte : bytes) encoding.bytes.push_back(std::to_integer<uint8_t>(byte));
    const ComponentWeights noisy(encoding, Activations::kF32, UseOf(*context_.model, id));
    OneReplaced source(context_.bank, id, &noisy);
    Stream stream(x.size());
    std::copy_n(x.data(), x.size(), stream.data());
    Divergence divergence(context_, pass_, original_);
    BB_RETURN_IF_ERROR(pass_.Run(&source,
                                 {.stage = stage, .first = 0, .count = pass_.sequences()},
                                 &divergence,
                                 stream.data(),
                                 context_.progress));
    return divergence.Mean();
  }

  const ScoreContext& context_;
  TokenPass pass_;
  Distillation<float>::Reference original_;
  FormatCosts costs_;
  int64_t runs_ = 0;
};

}  // namespace

absl::StatusOr<LayerScores> ScoreLinearity(const ScoreContext& context) {
  BB_ASSIGN_OR_RETURN(FormatCosts costs, NoiseInsertion(context).Costs());
  return ScoresOfCosts("linearity", std::move(costs), context);
}

}  // namespace bitbudget
