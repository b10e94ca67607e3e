#include "runtime/eval/evaluator.h"

#include <glog/logging.h>

#include <algorithm>
#include <optional>

#include "absl/status/status.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/table.h"
#include "runtime/model/decoder/generate.h"

namespace bitbudget {
namespace {

// One stage ahead of the head on the rows x of whole probes: stage 0 sets them, the others update
// them.
void RunProbes(const Transformer& transformer,
               int stage,
               const WeightSet& weights,
               std::span<const Probe> probes,
               float* x,
               TransformerWorkspace* workspace) {
  if (stage == 0) {
    for (const Probe& probe : probes) {
      transformer.Embed(
          weights, std::span(probe.tokens).first(static_cast<size_t>(probe.rows())), x);
      x += probe.rows() * transformer.model().config().hidden_size;
    }
    return;
  }
  std::vector<SequenceRows> sequences;
  for (const Probe& probe : probes) sequences.push_back({probe.rows(), nullptr});
  transformer.RunStage(stage, weights, sequences, x, workspace);
}

}  // namespace

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
      runner_(options.threads) {
  const ModelConfig& config = transformer.model().config();
  const int stages = NumStages(config);
  const int64_t stage_bytes =
      reference.total_rows() * config.hidden_size * static_cast<int64_t>(sizeof(float));
  // Stage 1 is always kept: whatever the memory, no candidate needs to embed again.
  while (cache_stride_ < stages &&
         (stages - 1 + cache_stride_ - 1) / cache_stride_ * stage_bytes > options.max_cache_bytes) {
    ++cache_stride_;
  }
  cache_.resize(stages);
}

absl::Status Evaluator::SetIncumbent(const Assignment& assignment) {
  return Replace(Assignment(assignment), 0, {.load = false, .save = true});
}

absl::Status Evaluator::Commit(std::span<const ComponentFormat> delta) {
  CHECK(!incumbent_.empty()) << "SetIncumbent comes first";
  return Replace(WithDelta(incumbent_, delta), FirstAffected(delta), {.load = true, .save = true});
}

absl::Status Evaluator::Replace(Assignment assignment, int first_stage, CacheUse cache) {
  // An assignment that cannot be encoded leaves the incumbent as it is.
  const absl::Status prepared = bank_->Prepare(assignment, options_.threads, progress_);
  if (!prepared.ok() && !absl::IsCancelled(prepared)) return prepared;
  // From here on the cache is overwritten: no incumbent until that is done.
  incumbent_.clear();
  BB_RETURN_IF_ERROR(prepared);
  AssignmentWeights weights = bank_->Weights(assignment);
  BB_ASSIGN_OR_RETURN(Evaluation evaluation, Run(&weights, first_stage, cache, {0, probe_count()}));
  incumbent_ = std::move(assignment);
  incumbent_evaluation_ = std::move(evaluation);
  return absl::OkStatus();
}

absl::StatusOr<Evaluation> Evaluator::Evaluate(std::span<const ComponentFormat> delta,
                                               ProbeRange range) {
  CHECK(!incumbent_.empty()) << "SetIncumbent comes first";
  BB_RETURN_IF_ERROR(bank_->Prepare(delta, options_.threads, progress_));
  AssignmentWeights weights = bank_->Weights(WithDelta(incumbent_, delta));
  return Run(&weights, FirstAffected(delta), {.load = true, .save = false}, range);
}

absl::StatusOr<Evaluation> Evaluator::EvaluateFromScratch(const Assignment& assignment,
                                                          TokenKls kls) {
  BB_RETURN_IF_ERROR(bank_->Prepare(assignment, options_.threads, progress_));
  AssignmentWeights weights = bank_->Weights(assignment);
  return EvaluateFromScratch(&weights, kls);
}

absl::StatusOr<Evaluation> Evaluator::EvaluateFromScratch(WeightSource* weights, TokenKls kls) {
  return Run(weights, 0, {.load = false, .save = false}, {0, probe_count()}, kls);
}

absl::StatusOr<Evaluation> Evaluator::NoiseFloor(int64_t probes) {
  AssignmentWeights weights(bank_, bank_->StoredAssignment(), F32Activations::kRounded);
  return Run(&weights, 0, {.load = false, .save = false}, {0, std::min(probes, probe_count())});
}

int64_t Evaluator::probe_count() const { return static_cast<int64_t>(reference_.probes().size()); }

double Evaluator::CostOf(std::optional<std::span<const ComponentFormat>> delta,
                         ProbeRange range) const {
  const int64_t rows =
      reference_.FirstRow(range.first + range.count) - reference_.FirstRow(range.first);
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

int Evaluator::StartStage(int first_stage) const {
  while (first_stage > 1 && !IsCached(first_stage)) --first_stage;
  return first_stage;
}

// On StageRunner, not TokenPass: a pass starts from cached streams at any stage, replaces them
// where a candidate becomes the incumbent, and the head has two sets of weights pinned at the same
// time.
absl::StatusOr<Evaluation> Evaluator::Run(
    WeightSource* weights, int first_stage, CacheUse cache, ProbeRange range, TokenKls kls) {
  CHECK(range.first >= 0 && range.count >= 0 && range.first + range.count <= probe_count());
  if (range.count == 0) return Evaluation();
  const int64_t width = transformer_.model().config().hidden_size;
  const int start = cache.load ? StartStage(first_stage) : 0;
  const int head = NumStages(transformer_.model().config()) - 1;
  const int64_t row_offset = reference_.FirstRow(range.first);
  if (cache.save) {
    for (int stage = std::max(start, 1); stage <= head; ++stage) {
      if (IsCached(stage)) cache_[stage].Resize(reference_.total_rows() * width);
    }
  }

  std::vector<int64_t> rows;
  for (int64_t i = 0; i < range.count; ++i) {
    rows.push_back(reference_.probes()[range.first + i].rows());
  }
  const std::vector<Batch> batches = MakeBatches(rows);
  x_.Resize((batches.back().first_row + batches.back().rows) * width);
  Evaluation evaluation(static_cast<size_t>(range.count));
  const WeightSet* reference_head = nullptr;

  const auto body = [&](int stage, const WeightSet& set, int64_t item, ForwardScratch* scratch) {
    const Batch& batch = batches[item];
    float* x = x_.data() + batch.first_row * width;
    const int64_t cached = (row_offset + batch.first_row) * width;
    if (stage == start && stage > 0) {
      std::copy_n(cache_[stage].data() + cached, batch.rows * width, x);
    } else if (cache.save && stage > 0 && IsCached(stage)) {
      std::copy_n(x, batch.rows * width, cache_[stage].data() + cached);
    }
    const int64_t first = range.first + batch.first;
    if (stage < head) {
      const std::span<const Probe> probes(reference_.probes().data() + first,
                                          static_cast<size_t>(batch.count));
      RunProbes(transformer_, stage, set, probes, x, &scratch->workspace);
      return;
    }
    for (int64_t i = first; i < first + batch.count; ++i) {
      const int64_t row =
          reference_.FirstRow(i) - row_offset + reference_.probes()[i].first_compared_row();
      evaluation[i - range.first] =
          Compare(i, set, reference_head, x_.data() + row * width, kls, scratch);
    }
  };
  const auto run = [&](int from, int to) {
    return from == to ? absl::OkStatus()
                      : runner_.Run(weights,
                                    {from, to, static_cast<int64_t>(batches.size())},
                                    progress_,
                                    Steps::kWithinStep,
                                    body);
  };
  if (reference_.keeps_logits()) {
    BB_RETURN_IF_ERROR(run(start, head + 1));
    return evaluation;
  }
  // The reference's head is needed beside the candidate's.
  BB_RETURN_IF_ERROR(run(start, head));
  BB_ASSIGN_OR_RETURN(const WeightLease lease,
                      reference_.weights()->Pin(head, head + 1, options_.threads));
  reference_head = &lease.set();
  BB_RETURN_IF_ERROR(run(head, head + 1));
  return evaluation;
}

ProbeResult Evaluator::Compare(int64_t index,
                               const WeightSet& head,
                               const WeightSet* reference_head,
                               const float* x,
                               TokenKls kls,
                               ForwardScratch* scratch) const {
  const ModelConfig& config = transformer_.model().config();
  const int64_t vocab = config.vocab_size;
  const Probe& probe = reference_.probes()[index];
  const int64_t text = probe.text();
  ProbeResult result;
  result.text.tokens = static_cast<int>(text);
  result.tokens = static_cast<int>(probe.completion());
  result.fdt = result.tokens;
  for (int64_t first = 0; first < probe.compared(); first += kLogitRows) {
    const int64_t count = std::min(kLogitRows, probe.compared() - first);
    scratch->logits.Resize(count * vocab);
    transformer_.Logits(head,
                        x + first * config.hidden_size,
                        config.hidden_size,
                        count,
                        scratch->logits.data(),
                        &scratch->workspace);
    const std::span<const float> reference_logits = reference_.Logits(
        index, first, count, reference_head, &scratch->reference_logits, &scratch->workspace);
    for (int64_t t = 0; t < count; ++t) {
      const std::span<const float> logits(scratch->logits.data() + t * vocab,
                                          static_cast<size_t>(vocab));
      const int64_t at = first + t;
      const int32_t expected = probe.tokens[probe.prompt - text + at];
      const bool missed = ArgMax(logits) != reference_.Top(index)[at];
      const double lse = Kernels().log_sum_exp(logits.data(), vocab);
      const double nll = BoundedNats(lse - static_cast<double>(logits[expected]));
      const double kl = BoundedNats(Kernels().kl_divergence(reference_logits.data() + t * vocab,
                                                            reference_.LogSumExp(index)[at],
                                                            logits.data(),
                                                            lse,
                                                            vocab));
      if (at < text) {
        result.text.misses += missed;
        result.text.nll_sum += nll;
        result.text.kl_sum += kl;
        if (kls == TokenKls::kKept) result.text.kls.push_back(static_cast<float>(kl));
        continue;
      }
      if (missed && result.sdt++ == 0) result.fdt = static_cast<int>(at - text);
      result.nll_sum += nll;
      result.kl_sum += kl;
    }
  }
  return result;
}

}  // namespace bitbudget
