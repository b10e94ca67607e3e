#include "runtime/eval/reference.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/kernels/table.h"
#include "runtime/model/decoder/generate.h"

namespace bitbudget {
absl::StatusOr<std::unique_ptr<ReferenceRun>> ReferenceRun::Create(
    const Transformer& transformer,
    WeightSource* weights,
    std::span<const std::vector<int32_t>> prompts,
    const ReferenceOptions& options,
    Progress* progress) {
  std::vector<Generation> completions = options.completions;
  if (completions.empty()) {
    GenerateOptions generate;
    generate.max_tokens = options.completion_tokens;
    generate.threads = options.threads;
    generate.max_kv_bytes = options.max_kv_bytes;
    progress->Begin("reference completions", static_cast<int64_t>(prompts.size()));
    BB_ASSIGN_OR_RETURN(completions, Generate(transformer, weights, prompts, generate, progress));
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
    probe.likely = completions[i].likely;
    completion_tokens += probe.completion();
    run->probes_.push_back(std::move(probe));
  }
  std::vector<int64_t> rows;
  run->first_row_.push_back(0);
  for (const Probe& probe : run->probes_) {
    rows.push_back(probe.rows());
    run->first_row_.push_back(run->first_row_.back() + probe.rows());
  }
  if (!options.distributions) return run;

  const ModelConfig& config = transformer.model().config();
  const int64_t width = config.hidden_size;
  const int64_t vocab = config.vocab_size;
  run->keeps_logits_ =
      completion_tokens * vocab <= options.max_logits_bytes / int64_t{sizeof(float)};
  const size_t probe_count = run->probes_.size();
  run->final_x_.resize(probe_count);
  run->logits_.resize(probe_count);
  run->log_sum_exp_.resize(probe_count);

  const std::vector<Batch> batches = MakeBatches(rows);
  const int64_t items = static_cast<int64_t>(batches.size());
  const int stages = NumStages(config);
  AlignedBuffer<float> x(run->total_rows() * width);
  StageRunner runner(options.threads);
  progress->Begin("reference distributions", items * stages);
  const auto body = [&](int stage, const WeightSet& set, int64_t item, ForwardScratch* scratch) {
    const Batch& batch = batches[item];
    const std::span<const Probe> probes(run->probes_.data() + batch.first,
                                        static_cast<size_t>(batch.count));
    float* batch_x = x.data() + batch.first_row * width;
    if (stage + 1 < stages) {
      RunProbes(transformer, stage, set, probes, batch_x, &scratch->workspace);
      return;
    }
    for (int64_t i = batch.first; i < batch.first + batch.count; ++i) {
      const Probe& probe = run->probes_[i];
      run->AddHead(i, set, x.data() + (run->FirstRow(i) + probe.prompt - 1) * width, scratch);
    }
  };
  BB_RETURN_IF_ERROR(runner.Run(weights, 0, stages, items, progress, /*report=*/true, body));
  progress->End();
  return run;
}

void ReferenceRun::AddHead(int64_t probe,
                           const WeightSet& head,
                           const float* x,
                           ForwardScratch* scratch) {
  const int64_t width = transformer_.model().config().hidden_size;
  const int64_t vocab = transformer_.model().config().vocab_size;
  const int64_t tokens = probes_[probe].completion();
  if (keeps_logits_) {
    logits_[probe].Resize(tokens * vocab);
  } else {
    final_x_[probe].Resize(tokens * width);
    std::copy_n(x, tokens * width, final_x_[probe].data());
  }
  for (int64_t first = 0; first < tokens; first += kLogitRows) {
    const int64_t count = std::min(kLogitRows, tokens - first);
    if (!keeps_logits_) scratch->logits.Resize(count * vocab);
    float* logits = keeps_logits_ ? logits_[probe].data() + first * vocab : scratch->logits.data();
    transformer_.Logits(head, x + first * width, width, count, logits, &scratch->workspace);
    for (int64_t t = 0; t < count; ++t) {
      log_sum_exp_[probe].push_back(Kernels().log_sum_exp(logits + t * vocab, vocab));
    }
  }
}

std::span<const float> ReferenceRun::Logits(int64_t probe,
                                            int64_t first,
                                            int64_t count,
                                            const WeightSet* head,
                                            AlignedBuffer<float>* scratch,
                                            TransformerWorkspace* workspace) const {
  const int64_t width = transformer_.model().config().hidden_size;
  const int64_t vocab = transformer_.model().config().vocab_size;
  if (keeps_logits_) return logits_[probe].span().subspan(first * vocab, count * vocab);
  CHECK(head != nullptr);
  scratch->Resize(count * vocab);
  transformer_.Logits(
      *head, final_x_[probe].data() + first * width, width, count, scratch->data(), workspace);
  return scratch->span();
}

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

}  // namespace bitbudget
