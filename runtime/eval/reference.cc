#include "runtime/eval/reference.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/kernels/table.h"
#include "runtime/model/decoder/forward.h"
#include "runtime/model/decoder/generate.h"
#include "runtime/model/decoder/token_pass.h"

namespace bitbudget {

// Keeps the final residual streams of what is compared.
class ReferenceRun::FinalStreams final : public PassObserver {
 public:
  explicit FinalStreams(ReferenceRun* run)
      : run_(*run), head_(NumStages(run->transformer_.model().config()) - 1) {}

  PassNeeds Needs() const override { return {.end_stage = head_}; }

  void Stream(int stage, const ObservedRows& x) override {
    if (stage == head_)
      run_.KeepFinal(x.sequence, {x.values, static_cast<size_t>(x.rows * x.width)});
  }

 private:
  ReferenceRun& run_;
  const int head_;
};

void ReferenceRun::KeepFinal(int64_t probe, std::span<const float> stream) {
  const int64_t width = transformer_.model().config().hidden_size;
  const std::span<const float> compared =
      stream.subspan(static_cast<size_t>(probes_[probe].first_compared_row() * width));
  final_x_[probe].Resize(static_cast<int64_t>(compared.size()));
  std::copy(compared.begin(), compared.end(), final_x_[probe].data());
}

absl::Status ReferenceRun::KeepDistributions(int threads, Progress* progress) {
  const ModelConfig& config = transformer_.model().config();
  const int head = NumStages(config) - 1;
  const int64_t vocab = config.vocab_size;
  const int64_t probes = static_cast<int64_t>(probes_.size());
  StageRunner runner(threads);
  progress->Begin("reference distributions", probes);
  BB_RETURN_IF_ERROR(runner.Run(
      weights_,
      {head, head + 1, probes},
      progress,
      Steps::kReported,
      [&](int, const WeightSet& set, int64_t p, ForwardScratch* scratch) {
        const Probe& probe = probes_[p];
        if (keeps_logits_) logits_[p].Resize(probe.compared() * vocab);
        for (int64_t first = 0; first < probe.compared(); first += kLogitRows) {
          const int64_t count = std::min(kLogitRows, probe.compared() - first);
          scratch->logits.Resize(count * vocab);
          transformer_.Logits(set,
                              final_x_[p].data() + first * config.hidden_size,
                              config.hidden_size,
                              count,
                              scratch->logits.data(),
                              &scratch->workspace);
          if (keeps_logits_) {
            std::copy_n(scratch->logits.data(), count * vocab, logits_[p].data() + first * vocab);
          }
          for (int64_t row = 0; row < count; ++row) {
            const float* const own = scratch->logits.data() + row * vocab;
            log_sum_exp_[p].push_back(Kernels().log_sum_exp(own, vocab));
            own_[p].push_back(own[probe.tokens[probe.first_compared_row() + first + row + 1]]);
            top_[p].push_back(ArgMax(std::span(own, static_cast<size_t>(vocab))));
          }
        }
        if (keeps_logits_) final_x_[p] = {};
      }));
  progress->End();
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<ReferenceRun>> ReferenceRun::Create(
    const Transformer& transformer,
    WeightSource* weights,
    std::span<const std::vector<int32_t>> prompts,
    const ReferenceOptions& options,
    Progress* progress) {
  std::vector<Generation> completions = options.completions;
  std::vector<std::vector<float>> streams;  // of what is generated
  if (completions.empty()) {
    GenerateOptions generate;
    generate.max_tokens = options.completion_tokens;
    generate.threads = options.threads;
    generate.max_kv_bytes = options.max_kv_bytes;
    if (options.distributions) generate.final_streams = &streams;
    progress->Begin("reference completions", static_cast<int64_t>(prompts.size()));
    BB_ASSIGN_OR_RETURN(completions, Generate(transformer, weights, prompts, generate, progress));
    progress->End();
  }
  CHECK_EQ(completions.size(), prompts.size());

  std::unique_ptr<ReferenceRun> run(new ReferenceRun(transformer, weights));
  int64_t compared = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    Probe probe;
    probe.tokens = prompts[i];
    probe.prompt = static_cast<int64_t>(prompts[i].size());
    probe.tokens.insert(
        probe.tokens.end(), completions[i].tokens.begin(), completions[i].tokens.end());
    probe.margins = completions[i].margins;
    probe.likely = completions[i].likely;
    compared += probe.compared();
    run->probes_.push_back(std::move(probe));
  }
  run->first_row_.push_back(0);
  for (const Probe& probe : run->probes_) {
    run->first_row_.push_back(run->first_row_.back() + probe.rows());
  }
  if (!options.distributions) return run;

  run->keeps_logits_ = compared * transformer.model().config().vocab_size <=
                       options.max_logits_bytes / int64_t{sizeof(float)};
  run->final_x_.resize(run->probes_.size());
  run->logits_.resize(run->probes_.size());
  run->log_sum_exp_.resize(run->probes_.size());
  run->top_.resize(run->probes_.size());
  run->own_.resize(run->probes_.size());
  if (!streams.empty()) {
    for (size_t i = 0; i < streams.size(); ++i) {
      run->KeepFinal(static_cast<int64_t>(i), streams[i]);
      streams[i] = {};
    }
  } else {
    std::vector<std::span<const int32_t>> tokens;
    for (const Probe& probe : run->probes_) {
      tokens.push_back(std::span(probe.tokens).first(static_cast<size_t>(probe.rows())));
    }
    TokenPass pass(transformer, std::move(tokens), options.threads);
    FinalStreams final_streams(run.get());
    BB_RETURN_IF_ERROR(pass.Observe(weights, &final_streams, "reference streams", progress));
  }
  BB_RETURN_IF_ERROR(run->KeepDistributions(options.threads, progress));
  return run;
}

Evaluation ReferenceRun::Own() const {
  Evaluation own;
  for (size_t i = 0; i < probes_.size(); ++i) {
    const int64_t text = probes_[i].text();
    ProbeResult& result = own.emplace_back();
    result.text.tokens = static_cast<int>(text);
    result.tokens = result.fdt = static_cast<int>(probes_[i].completion());
    for (int64_t at = 0; at < probes_[i].compared(); ++at) {
      (at < text ? result.text.nll_sum : result.nll_sum) +=
          BoundedNats(log_sum_exp_[i][at] - static_cast<double>(own_[i][at]));
    }
  }
  return own;
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

}  // namespace bitbudget
