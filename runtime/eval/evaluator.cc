#include "runtime/eval/evaluator.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/table.h"
#include "runtime/model/generate.h"

namespace bitbudget {

Evaluator::Evaluator(const Transformer& transformer,
                     const ReferenceRun& reference,
                     EncodingBank* bank,
                     const EvaluatorOptions& options,
                     Progress* progress)
    : transformer_(transformer),
      reference_(reference),
      bank_(bank),
      options_(options),
      progress_(progress),
      scratch_(options.threads) {
  const ModelConfig& config = transformer.model().config();
  const int stages = NumStages(config);
  const int64_t stage_bytes =
      reference.total_rows() * config.hidden_size * static_cast<int64_t>(sizeof(float));
  // Stage 1 is always kept: with no room at all a candidate still need not embed again.
  while (cache_stride_ < stages &&
         (stages - 1 + cache_stride_ - 1) / cache_stride_ * stage_bytes > options.max_cache_bytes) {
    ++cache_stride_;
  }
  cache_.resize(reference.batches().size());
  for (auto& batch : cache_) batch.resize(stages);
}

absl::Status Evaluator::SetIncumbent(const Assignment& assignment) {
  BB_ASSIGN_OR_RETURN(const WeightSet weights, bank_->Weights(assignment, options_.threads));
  // The cache is overwritten from here on; until that is done nothing can use it.
  Assignment next = assignment;
  incumbent_.clear();
  BB_ASSIGN_OR_RETURN(Evaluation evaluation, Run(weights, 0, /*use_cache=*/false, true));
  incumbent_ = std::move(next);
  incumbent_evaluation_ = std::move(evaluation);
  bank_->Trim(incumbent_);
  return absl::OkStatus();
}

absl::StatusOr<Evaluation> Evaluator::Evaluate(std::span<const ComponentFormat> delta,
                                               ProbeRange range) {
  CHECK(!incumbent_.empty()) << "SetIncumbent comes first";
  BB_ASSIGN_OR_RETURN(const WeightSet weights,
                      bank_->Weights(WithDelta(incumbent_, delta), options_.threads));
  BB_ASSIGN_OR_RETURN(Evaluation evaluation,
                      Run(weights, FirstAffected(delta), /*use_cache=*/true, false));
  bank_->Trim(incumbent_);
  return Evaluation(evaluation.begin() + range.first,
                    evaluation.begin() + range.first + range.count);
}

absl::Status Evaluator::Commit(std::span<const ComponentFormat> delta) {
  CHECK(!incumbent_.empty()) << "SetIncumbent comes first";
  Assignment assignment = WithDelta(incumbent_, delta);
  BB_ASSIGN_OR_RETURN(const WeightSet weights, bank_->Weights(assignment, options_.threads));
  absl::StatusOr<Evaluation> evaluation = Run(weights, FirstAffected(delta), true, true);
  if (!evaluation.ok()) {
    // The cache is partly overwritten; without an incumbent nothing can use it.
    incumbent_.clear();
    return evaluation.status();
  }
  incumbent_ = std::move(assignment);
  incumbent_evaluation_ = *std::move(evaluation);
  bank_->Trim(incumbent_);
  return absl::OkStatus();
}

absl::StatusOr<Evaluation> Evaluator::EvaluateFromScratch(const Assignment& assignment) {
  BB_ASSIGN_OR_RETURN(const WeightSet weights, bank_->Weights(assignment, options_.threads));
  BB_ASSIGN_OR_RETURN(Evaluation evaluation, Run(weights, 0, false, false));
  return evaluation;
}

absl::StatusOr<Evaluation> Evaluator::NoiseFloor(const ReferenceWeights& reference_weights) {
  WeightSet weights = reference_weights.set();
  weights.round_activations = true;
  return Run(weights, 0, false, false);
}

int64_t Evaluator::probe_count() const { return static_cast<int64_t>(reference_.probes().size()); }

double Evaluator::CostOf(std::optional<std::span<const ComponentFormat>> delta,
                         ProbeRange range) const {
  int64_t rows = 0;
  for (int64_t i = 0; i < range.count; ++i) rows += reference_.probes()[range.first + i].rows();
  const int last_stage = NumStages(transformer_.model().config()) - 1;
  const int first_stage = delta.has_value() ? std::max(FirstAffected(*delta), 1) : 1;
  return static_cast<double>(rows * (last_stage - first_stage)) / 2;
}

int Evaluator::FirstAffected(std::span<const ComponentFormat> delta) const {
  const Model& model = transformer_.model();
  int first = NumStages(model.config()) - 1;
  for (const ComponentFormat& change : delta) {
    first = std::min(first, FirstAffectedStage(model.component(change.component), model.config()));
  }
  return first;
}

absl::StatusOr<Evaluation> Evaluator::Run(const WeightSet& weights,
                                          int first_stage,
                                          bool use_cache,
                                          bool save_cache) {
  if (use_cache) {
    while (first_stage > 1 && !IsCached(first_stage)) --first_stage;
  }
  Evaluation evaluation(reference_.probes().size());
  ParallelFor(
      options_.threads,
      static_cast<int64_t>(reference_.batches().size()),
      [&](int64_t batch, int worker) {
        if (progress_->Interrupted()) return;
        RunBatch(
            weights, batch, first_stage, use_cache, save_cache, &scratch_[worker], &evaluation);
      });
  if (progress_->Interrupted()) return absl::CancelledError("interrupted");
  return evaluation;
}

void Evaluator::RunBatch(const WeightSet& weights,
                         int64_t batch,
                         int first_stage,
                         bool use_cache,
                         bool save_cache,
                         ForwardScratch* scratch,
                         Evaluation* out) {
  const ProbeBatch& rows = reference_.batches()[batch];
  const std::span<const Probe> probes(reference_.probes().data() + rows.first,
                                      static_cast<size_t>(rows.count));
  std::vector<AlignedBuffer<float>>& cache = cache_[batch];
  if (first_stage == 0) {
    EmbedBatch(transformer_, weights, probes, &scratch->x);
    first_stage = 1;
  } else {
    CHECK(use_cache);
    const AlignedBuffer<float>& cached = cache[first_stage];
    scratch->x.Resize(cached.size());
    std::memcpy(
        scratch->x.data(), cached.data(), static_cast<size_t>(cached.size()) * sizeof(float));
  }
  const auto save = [&](int stage) {
    if (!save_cache || !IsCached(stage)) return;
    cache[stage].Resize(scratch->x.size());
    std::memcpy(cache[stage].data(),
                scratch->x.data(),
                static_cast<size_t>(scratch->x.size()) * sizeof(float));
  };
  RunBlockStages(
      transformer_, weights, probes, first_stage, scratch->x.data(), &scratch->workspace, save);

  int64_t row = 0;
  const int64_t width = transformer_.model().config().hidden_size;
  for (int64_t i = 0; i < rows.count; ++i) {
    const Probe& probe = probes[i];
    (*out)[rows.first + i] = Score(probe,
                                   rows.first + i,
                                   weights,
                                   scratch->x.data() + (row + probe.prompt - 1) * width,
                                   scratch);
    row += probe.rows();
  }
}

ProbeResult Evaluator::Score(const Probe& probe,
                             int64_t index,
                             const WeightSet& weights,
                             const float* x,
                             ForwardScratch* scratch) const {
  const ModelConfig& config = transformer_.model().config();
  const int64_t vocab = config.vocab_size;
  const int64_t tokens = probe.completion();
  scratch->logits.Resize(tokens * vocab);
  transformer_.Logits(
      weights, x, config.hidden_size, tokens, scratch->logits.data(), &scratch->workspace);
  const std::span<const float> reference_logits =
      reference_.Logits(index, &scratch->reference_logits, &scratch->workspace);
  const std::span<const double> reference_lse = reference_.LogSumExp(index);

  ProbeResult result;
  result.tokens = static_cast<int>(tokens);
  result.fdt = result.tokens;
  for (int64_t t = 0; t < tokens; ++t) {
    const std::span<const float> logits(scratch->logits.data() + t * vocab,
                                        static_cast<size_t>(vocab));
    const int32_t expected = probe.tokens[probe.prompt + t];
    if (ArgMax(logits) != expected) {
      if (result.sdt == 0) result.fdt = static_cast<int>(t);
      ++result.sdt;
    }
    const double lse = Kernels().log_sum_exp(logits.data(), vocab);
    result.nll_sum += BoundedNats(lse - static_cast<double>(logits[expected]));
    result.kl_sum += BoundedNats(Kernels().kl_divergence(
        reference_logits.data() + t * vocab, reference_lse[t], logits.data(), lse, vocab));
  }
  return result;
}

}  // namespace bitbudget
