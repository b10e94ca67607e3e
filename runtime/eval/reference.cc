#include "runtime/eval/reference.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/kernels/table.h"
#include "runtime/model/decoder/generate.h"
#include "runtime/model/decoder/token_pass.h"

namespace bitbudget {

// Keeps the distributions of what is compared: logits, or what they can be computed from again.
class ReferenceRun::Distributions final : public PassObserver {
 public:
  explicit Distributions(ReferenceRun* run)
      : run_(*run), head_(NumStages(run->transformer_.model().config()) - 1) {}

  PassNeeds Needs() const override { return {.end_stage = head_ + 1, .logits = true}; }

  int64_t FirstLogit(int64_t probe) const override {
    return run_.probes_[probe].first_compared_row();
  }

  void Stream(int stage, const ObservedRows& x) override {
    if (stage != head_ || run_.keeps_logits_) return;
    const int64_t first = FirstLogit(x.sequence);
    AlignedBuffer<float>& kept = run_.final_x_[x.sequence];
    kept.Resize((x.rows - first) * x.width);
    std::copy_n(x.values + first * x.width, kept.size(), kept.data());
  }

  void Logits(const ObservedRows& logits) override {
    const int64_t first = logits.first - FirstLogit(logits.sequence);  // compared token
    if (run_.keeps_logits_) {
      AlignedBuffer<float>& kept = run_.logits_[logits.sequence];
      if (first == 0) kept.Resize(run_.probes_[logits.sequence].compared() * logits.width);
      std::copy_n(logits.values, logits.rows * logits.width, kept.data() + first * logits.width);
    }
    for (int64_t row = 0; row < logits.rows; ++row) {
      const float* const own = logits.values + row * logits.width;
      run_.log_sum_exp_[logits.sequence].push_back(Kernels().log_sum_exp(own, logits.width));
      const Probe& probe = run_.probes_[logits.sequence];
      run_.own_[logits.sequence].push_back(own[probe.tokens[logits.first + row + 1]]);
      run_.top_[logits.sequence].push_back(
          ArgMax(std::span(own, static_cast<size_t>(logits.width))));
    }
  }

 private:
  ReferenceRun& run_;
  const int head_;
};

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
  std::vector<std::span<const int32_t>> tokens;
  for (const Probe& probe : run->probes_) {
    tokens.push_back(std::span(probe.tokens).first(static_cast<size_t>(probe.rows())));
  }
  TokenPass pass(transformer, std::move(tokens), options.threads);
  Distributions distributions(run.get());
  BB_RETURN_IF_ERROR(pass.Observe(weights, &distributions, "reference distributions", progress));
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
