#include "runtime/model/decoder/token_pass.h"

#include <glog/logging.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "runtime/base/aligned_buffer.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// Asks for nothing but the stages.
class Blind final : public PassObserver {
 public:
  explicit Blind(int end_stage) : end_stage_(end_stage) {}
  PassNeeds Needs() const override { return {.end_stage = end_stage_}; }

 private:
  int end_stage_;
};

// The first stage whose weights are not needed.
int EndOfWeights(const PassNeeds& needs, const ModelConfig& config) {
  return needs.logits ? needs.end_stage : std::min(needs.end_stage, NumStages(config) - 1);
}

}  // namespace

struct TokenPass::Step {
  int stage = 0;
  int64_t part = 0;
  const Batch& batch;
  const PassNeeds& needs;
  PassObserver* observer;

  // Calls show(sequence) for the sequences of the batch, whose rows are x[rows of the
  // batch][width].
  template <typename Show>
  void ForSequences(const TokenPass& pass, int64_t width, const float* x, const Show& show) const {
    for (int64_t s = batch.first; s < batch.first + batch.count; ++s) {
      const int64_t row = pass.FirstRow(s) - pass.FirstRow(batch.first);
      show(ObservedRows{part, s, 0, pass.Length(s), width, x + row * width});
    }
  }
};

TokenPass::TokenPass(const Transformer& transformer,
                     std::vector<std::span<const int32_t>> sequences,
                     int threads)
    : transformer_(transformer),
      sequences_(std::move(sequences)),
      first_row_(1, 0),
      runner_(threads) {
  for (const std::span<const int32_t> tokens : sequences_) {
    first_row_.push_back(first_row_.back() + static_cast<int64_t>(tokens.size()));
  }
}

TokenPass::TokenPass(const Transformer& transformer,
                     std::span<const std::vector<int32_t>> sequences,
                     int threads)
    : TokenPass(transformer,
                std::vector<std::span<const int32_t>>(sequences.begin(), sequences.end()),
                threads) {}

absl::Status TokenPass::Observe(WeightSource* weights,
                                PassObserver* observer,
                                absl::string_view phase,
                                Progress* progress) {
  const Start start{0, 0, sequences()};
  const PassNeeds needs = observer->Needs();
  const int64_t parts = static_cast<int64_t>(MakeParts(start, needs.parts).size());
  progress->Begin(phase, parts * EndOfWeights(needs, transformer_.model().config()));
  AlignedBuffer<float> x(total_rows() * transformer_.model().config().hidden_size);
  BB_RETURN_IF_ERROR(RunParts(weights, start, observer, x.data(), Steps::kReported, progress));
  progress->End();
  return absl::OkStatus();
}

absl::Status TokenPass::Advance(
    WeightSource* weights, int first, int end, float* x, Progress* progress) {
  Blind blind(end);
  return Run(weights, {first, 0, sequences()}, &blind, x, progress);
}

absl::Status TokenPass::Run(WeightSource* weights,
                            const Start& start,
                            PassObserver* observer,
                            float* x,
                            Progress* progress) {
  return RunParts(weights, start, observer, x, Steps::kSilent, progress);
}

absl::Status TokenPass::RunParts(WeightSource* weights,
                                 const Start& start,
                                 PassObserver* observer,
                                 float* x,
                                 Steps steps,
                                 Progress* progress) {
  const int head = NumStages(transformer_.model().config()) - 1;
  const PassNeeds needs = observer->Needs();
  CHECK(0 <= start.stage && start.stage < needs.end_stage && needs.end_stage <= head + 1);
  CHECK(0 <= start.first && 0 <= start.count && start.first + start.count <= sequences());
  const std::vector<Part> parts = MakeParts(start, needs.parts);
  const StageSpan stages{start.stage,
                         EndOfWeights(needs, transformer_.model().config()),
                         static_cast<int64_t>(parts.size())};
  if (stages.first < stages.end) {
    BB_RETURN_IF_ERROR(runner_.Run(
        weights,
        stages,
        progress,
        steps,
        [&](int stage, const WeightSet& set, int64_t item, ForwardScratch* scratch) {
          for (const Batch& batch : parts[item].batches) {
            RunStep({stage, parts[item].index, batch, needs, observer}, set, x, scratch);
          }
        }));
  }
  if (needs.end_stage <= head || !needs.inputs) return absl::OkStatus();
  return ObserveHeadInputs(parts, observer, x, progress);
}

std::vector<TokenPass::Part> TokenPass::MakeParts(const Start& start, int64_t parts) const {
  std::vector<Part> made;
  // Batches of the sequences [first, end).
  const auto batches_of = [&](int64_t first, int64_t end) {
    std::vector<int64_t> lengths;
    for (int64_t s = first; s < end; ++s) lengths.push_back(Length(s));
    std::vector<Batch> batches = MakeBatches(lengths);
    for (Batch& batch : batches) {
      batch.first += first;
      batch.first_row += FirstRow(first);
    }
    return batches;
  };
  if (parts == 0) {
    for (const Batch& batch : batches_of(start.first, start.first + start.count)) {
      made.push_back({static_cast<int64_t>(made.size()), {batch}});
    }
    return made;
  }
  parts = std::min(parts, start.count);
  for (int64_t p = 0; p < parts; ++p) {
    made.push_back({p,
                    batches_of(start.first + p * start.count / parts,
                               start.first + (p + 1) * start.count / parts)});
  }
  return made;
}

void TokenPass::RunStep(const Step& step,
                        const WeightSet& weights,
                        float* x,
                        ForwardScratch* scratch) const {
  const ModelConfig& config = transformer_.model().config();
  float* const batch_x = x + step.batch.first_row * config.hidden_size;
  if (step.stage == NumStages(config) - 1) return RunHead(step, weights, batch_x, scratch);
  if (step.stage == 0) {
    for (int64_t s = step.batch.first; s < step.batch.first + step.batch.count; ++s) {
      transformer_.Embed(weights, tokens(s), x + FirstRow(s) * config.hidden_size);
    }
  } else {
    TransformerWorkspace& workspace = scratch->workspace;
    if (step.needs.inputs) {
      workspace.observe_input = [&](ComponentId id, const float* inputs, int64_t, int64_t width) {
        step.ForSequences(*this, width, inputs, [&](const ObservedRows& rows) {
          step.observer->Inputs(id, rows);
        });
      };
    }
    std::vector<SequenceRows> sequences;
    for (int64_t s = step.batch.first; s < step.batch.first + step.batch.count; ++s) {
      sequences.push_back({Length(s), nullptr});
    }
    transformer_.RunStage(step.stage, weights, sequences, batch_x, &workspace);
    workspace.observe_input = nullptr;
  }
  step.ForSequences(*this, config.hidden_size, batch_x, [&](const ObservedRows& rows) {
    step.observer->Stream(step.stage + 1, rows);
  });
}

void TokenPass::RunHead(const Step& step,
                        const WeightSet& weights,
                        const float* x,
                        ForwardScratch* scratch) const {
  const ModelConfig& config = transformer_.model().config();
  step.ForSequences(*this, config.hidden_size, x, [&](ObservedRows rows) {
    const float* const stream = rows.values;
    const int64_t end = rows.rows;
    rows.width = config.vocab_size;
    for (rows.first = step.observer->FirstLogit(rows.sequence); rows.first < end;
         rows.first += kLogitRows) {
      rows.rows = std::min(kLogitRows, end - rows.first);
      scratch->logits.Resize(rows.rows * config.vocab_size);
      rows.values = scratch->logits.data();
      transformer_.Logits(weights,
                          stream + rows.first * config.hidden_size,
                          config.hidden_size,
                          rows.rows,
                          scratch->logits.data(),
                          &scratch->workspace);
      step.observer->Logits(rows);
    }
  });
}

absl::Status TokenPass::ObserveHeadInputs(std::span<const Part> parts,
                                          PassObserver* observer,
                                          const float* x,
                                          Progress* progress) const {
  const Model& model = transformer_.model();
  const int64_t width = model.config().hidden_size;
  const PassNeeds needs = observer->Needs();
  std::vector<AlignedBuffer<float>> normed(runner_.threads());
  std::atomic<bool> interrupted = false;
  ParallelFor(runner_.threads(), static_cast<int64_t>(parts.size()), [&](int64_t p, int worker) {
    for (const Batch& batch : parts[p].batches) {
      if (interrupted || progress->Interrupted()) {
        interrupted = true;
        return;
      }
      AlignedBuffer<float>& own = normed[worker];
      own.Resize(batch.rows * width);
      transformer_.FinalNorm(
          model.final_norm(), x + batch.first_row * width, width, batch.rows, own.data());
      const Step step{NumStages(model.config()) - 1, parts[p].index, batch, needs, observer};
      step.ForSequences(*this, width, own.data(), [&](const ObservedRows& rows) {
        observer->Inputs(model.head(), rows);
      });
    }
  });
  return interrupted ? absl::CancelledError("interrupted") : absl::OkStatus();
}

}  // namespace bitbudget
