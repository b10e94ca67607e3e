#include "runtime/eval/reference.h"

#include <glog/logging.h>

#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/eval/forward.h"
#include "runtime/kernels/table.h"
#include "runtime/model/generate.h"

namespace bitbudget {
namespace {

// Rows per batch: the kernels are at full speed from a few dozen rows, and small batches spread
// over threads and leave the caches warm.
constexpr int64_t kBatchRows = 192;

std::vector<ProbeBatch> MakeBatches(const std::vector<Probe>& probes) {
  std::vector<ProbeBatch> batches;
  for (size_t i = 0; i < probes.size(); ++i) {
    if (batches.empty() || batches.back().rows >= kBatchRows) {
      batches.push_back({static_cast<int64_t>(i), 0, 0});
    }
    ++batches.back().count;
    batches.back().rows += probes[i].rows();
  }
  return batches;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ReferenceRun>> ReferenceRun::Create(
    const Transformer& transformer,
    const ReferenceWeights& weights,
    std::span<const std::vector<int32_t>> prompts,
    const ReferenceOptions& options,
    Progress* progress) {
  std::vector<Generation> completions = options.completions;
  if (completions.empty()) {
    GenerateOptions generate;
    generate.max_tokens = options.completion_tokens;
    generate.threads = options.threads;
    progress->Begin("reference completions", static_cast<int64_t>(prompts.size()));
    BB_ASSIGN_OR_RETURN(completions,
                        Generate(transformer, weights.set(), prompts, generate, progress));
    progress->End();
  }
  CHECK_EQ(completions.size(), prompts.size());

  std::unique_ptr<ReferenceRun> run(new ReferenceRun(transformer, weights));
  int64_t completion_tokens = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    Probe probe;
    probe.tokens = prompts[i];
    probe.prompt = static_cast<int64_t>(prompts[i].size());
    probe.tokens.insert(
        probe.tokens.end(), completions[i].tokens.begin(), completions[i].tokens.end());
    probe.margins = completions[i].margins;
    completion_tokens += probe.completion();
    run->probes_.push_back(std::move(probe));
  }
  run->batches_ = MakeBatches(run->probes_);

  const ModelConfig& config = transformer.model().config();
  const bool keep_logits =
      completion_tokens * config.vocab_size <= options.max_logits_bytes / int64_t{sizeof(float)};
  const int64_t probe_count = static_cast<int64_t>(run->probes_.size());
  run->final_x_.resize(probe_count);
  run->logits_.resize(probe_count);
  run->log_sum_exp_.resize(probe_count);

  const int64_t batch_count = static_cast<int64_t>(run->batches_.size());
  std::vector<ForwardScratch> scratch(options.threads);
  progress->Begin("reference distributions", batch_count);
  SharedProgress shared(progress);
  ParallelFor(options.threads, batch_count, [&](int64_t b, int worker) {
    if (progress->Interrupted()) return;
    ForwardScratch& ws = scratch[worker];
    const ProbeBatch& batch = run->batches_[b];
    const std::span<const Probe> probes(run->probes_.data() + batch.first,
                                        static_cast<size_t>(batch.count));
    EmbedBatch(transformer, weights.set(), probes, &ws.x);
    RunBlockStages(transformer, weights.set(), probes, 1, ws.x.data(), &ws.workspace, {});
    int64_t row = 0;
    for (int64_t i = batch.first; i < batch.first + batch.count; ++i) {
      const Probe& probe = run->probes_[i];
      const float* x = ws.x.data() + (row + probe.prompt - 1) * config.hidden_size;
      AlignedBuffer<float>& logits = keep_logits ? run->logits_[i] : ws.logits;
      logits.Resize(probe.completion() * config.vocab_size);
      transformer.Logits(
          weights.set(), x, config.hidden_size, probe.completion(), logits.data(), &ws.workspace);
      for (int64_t t = 0; t < probe.completion(); ++t) {
        run->log_sum_exp_[i].push_back(
            Kernels().log_sum_exp(logits.data() + t * config.vocab_size, config.vocab_size));
      }
      if (!keep_logits) {
        run->final_x_[i].Resize(probe.completion() * config.hidden_size);
        std::memcpy(run->final_x_[i].data(),
                    x,
                    static_cast<size_t>(run->final_x_[i].size()) * sizeof(float));
      }
      row += probe.rows();
    }
    shared.Step();
  });
  if (progress->Interrupted()) return absl::CancelledError("interrupted");
  progress->End();
  return run;
}

int64_t ReferenceRun::total_rows() const {
  int64_t rows = 0;
  for (const ProbeBatch& batch : batches_) rows += batch.rows;
  return rows;
}

std::span<const float> ReferenceRun::Logits(int64_t probe,
                                            AlignedBuffer<float>* scratch,
                                            TransformerWorkspace* workspace) const {
  if (logits_[probe].size() > 0) return logits_[probe].span();
  const ModelConfig& config = transformer_.model().config();
  scratch->Resize(probes_[probe].completion() * config.vocab_size);
  transformer_.Logits(weights_.set(),
                      final_x_[probe].data(),
                      config.hidden_size,
                      probes_[probe].completion(),
                      scratch->data(),
                      workspace);
  return scratch->span();
}

}  // namespace bitbudget
