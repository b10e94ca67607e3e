#include "runtime/model/decoder/generate.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/decoder/forward.h"

namespace bitbudget {
namespace {

// Rows that are enough for one batch: weights that do not fit the caches are read once per batch.
constexpr int64_t kBatch = 48;
// Prompt positions that go through a stage together.
constexpr int64_t kPrefillRows = 240;

// Decodes a group of sequences, one token of each per step.
class Decoder {
 public:
  Decoder(const Transformer& transformer,
          WeightSource* weights,
          const GenerateOptions& options,
          Progress* progress)
      : transformer_(transformer),
        config_(transformer.model().config()),
        weights_(weights),
        options_(options),
        progress_(progress),
        runner_(options.threads) {}

  // Continues prompts[first, first + out.size()). `finished` counts sequences for the progress.
  absl::Status Run(std::span<const std::vector<int32_t>> prompts,
                   int64_t first,
                   std::span<Generation> out,
                   int64_t* finished) {
    active_.clear();
    for (size_t i = 0; i < out.size(); ++i) {
      const size_t index = static_cast<size_t>(first) + i;
      const std::span<const int32_t> prompt = prompts[index];
      const uint64_t stream = options_.streams.empty() ? index : options_.streams[index];
      active_.push_back(
          {index,
           KvCache(config_, static_cast<int64_t>(prompt.size()) + options_.max_tokens),
           Random(options_.seed, {stream}),
           prompt.first(prompt.size() - 1),
           &out[i],
           absl::OkStatus()});
    }
    BB_RETURN_IF_ERROR(Pass(NumStages(config_) - 1));  // all but the last token of the prompts
    KeepStreams();
    // The last prompt token of every sequence is the first step's input.
    for (Sequence& sequence : active_) {
      sequence.input = std::span(prompts[sequence.index]).last(1);
    }
    for (step_ = 0; step_ < options_.max_tokens && !active_.empty(); ++step_) {
      BB_RETURN_IF_ERROR(Pass(NumStages(config_)));
      KeepStreams();
      progress_->Within(static_cast<double>(active_.size()) * static_cast<double>(step_ + 1) /
                        static_cast<double>(options_.max_tokens));
      std::vector<Sequence> still_active;
      for (Sequence& sequence : active_) {
        BB_RETURN_IF_ERROR(sequence.status);
        const auto& tokens = sequence.out->tokens;
        const auto& eos = config_.eos_token_ids;
        if (options_.stop_at_eos && std::find(eos.begin(), eos.end(), tokens.back()) != eos.end()) {
          progress_->Update(++*finished);
          continue;
        }
        sequence.input = std::span(tokens).last(1);
        still_active.push_back(std::move(sequence));
      }
      active_ = std::move(still_active);
    }
    *finished += static_cast<int64_t>(active_.size());
    progress_->Update(*finished);
    return absl::OkStatus();
  }

 private:
  struct Sequence {
    size_t index;
    KvCache cache;
    Random random;
    std::span<const int32_t> input;  // tokens to feed in this pass
    Generation* out;
    absl::Status status;
  };

  // Feeds the inputs of all sequences through the stages ahead of `end`; the head, where it is
  // among them, appends a token to every sequence.
  absl::Status Pass(int end) {
    std::vector<int64_t> rows;
    int64_t total = 0;
    for (const Sequence& sequence : active_) {
      rows.push_back(static_cast<int64_t>(sequence.input.size()));
      total += rows.back();
    }
    if (total == 0) return absl::OkStatus();
    // One batch per thread where that leaves the kernels enough rows.
    const int64_t per_thread = (total + options_.threads - 1) / options_.threads;
    const std::vector<Batch> batches =
        MakeBatches(rows, std::clamp<int64_t>(per_thread, 1, kBatch));
    x_.Resize(total * config_.hidden_size);
    return runner_.Run(
        weights_,
        {0, end, static_cast<int64_t>(batches.size())},
        progress_,
        Steps::kSilent,
        [&](int stage, const WeightSet& set, int64_t item, ForwardScratch* scratch) {
          const Batch& batch = batches[item];
          const std::span<Sequence> sequences(active_.data() + batch.first,
                                              static_cast<size_t>(batch.count));
          RunBatch(
              stage, set, sequences, x_.data() + batch.first_row * config_.hidden_size, scratch);
        });
  }

  // After a pass.
  void KeepStreams() {
    if (options_.final_streams == nullptr) return;
    const float* x = x_.data();
    for (const Sequence& sequence : active_) {
      const float* const end =
          x + static_cast<int64_t>(sequence.input.size()) * config_.hidden_size;
      std::vector<float>& kept = (*options_.final_streams)[sequence.index];
      kept.insert(kept.end(), x, end);
      x = end;
    }
  }

  void RunBatch(int stage,
                const WeightSet& weights,
                std::span<Sequence> sequences,
                float* x,
                ForwardScratch* scratch) {
    if (stage == 0) {
      for (const Sequence& sequence : sequences) {
        transformer_.Embed(weights, sequence.input, x);
        x += static_cast<int64_t>(sequence.input.size()) * config_.hidden_size;
      }
      return;
    }
    if (stage == NumStages(config_) - 1) {
      const int64_t count = static_cast<int64_t>(sequences.size());
      scratch->logits.Resize(count * config_.vocab_size);
      transformer_.Logits(
          weights, x, config_.hidden_size, count, scratch->logits.data(), &scratch->workspace);
      for (int64_t i = 0; i < count; ++i) {
        AddToken({scratch->logits.data() + i * config_.vocab_size,
                  static_cast<size_t>(config_.vocab_size)},
                 &sequences[i]);
      }
      return;
    }
    // Several sequences together, or a long one in parts: a part sees the earlier ones in the
    // cache.
    std::vector<SequenceRows> rows;
    int64_t ready = 0;
    const auto flush = [&] {
      if (ready == 0) return;
      transformer_.RunStage(stage, weights, rows, x, &scratch->workspace);
      x += ready * config_.hidden_size;
      rows.clear();
      ready = 0;
    };
    for (Sequence& sequence : sequences) {
      for (int64_t left = static_cast<int64_t>(sequence.input.size()); left > 0;) {
        const int64_t part = std::min(left, kPrefillRows);
        if (ready + part > kPrefillRows) flush();
        rows.push_back({part, &sequence.cache});
        ready += part;
        left -= part;
      }
    }
    flush();
  }

  void AddToken(std::span<const float> logits, Sequence* sequence) const {
    const int32_t best = ArgMax(logits);
    if (best < 0) {
      sequence->status = absl::InternalError(absl::StrCat("sequence ",
                                                          sequence->index,
                                                          ": logits are not finite after ",
                                                          sequence->cache.size(),
                                                          " tokens"));
      return;
    }
    const std::span<const int32_t> excluded =
        options_.stop_at_eos ? std::span<const int32_t>() : config_.eos_token_ids;
    sequence->out->tokens.push_back(
        step_ < options_.greedy_tokens ? best
                                       : Sample(logits, logits[best], excluded, &sequence->random));
    sequence->out->margins.push_back(Margin(logits, best));
    AppendLikely(logits, &sequence->out->likely);
  }

  const Transformer& transformer_;
  const ModelConfig& config_;
  WeightSource* weights_;
  const GenerateOptions& options_;
  Progress* progress_;
  StageRunner runner_;
  std::vector<Sequence> active_;
  AlignedBuffer<float> x_;
  int64_t step_ = 0;
};

absl::Status CheckPrompts(const Transformer& transformer,
                          std::span<const std::vector<int32_t>> prompts,
                          const GenerateOptions& options) {
  const int64_t vocab = transformer.model().config().vocab_size;
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].empty())
      return absl::InvalidArgumentError(absl::StrCat("prompt ", i, " is empty"));
    for (const int32_t token : prompts[i]) {
      if (token < 0 || token >= vocab) {
        return absl::InvalidArgumentError(
            absl::StrCat("prompt ", i, ": token ", token, " is outside the vocabulary of ", vocab));
      }
    }
    // The last new token is not fed. The sum of both numbers could overflow.
    if (static_cast<int64_t>(prompts[i].size()) - 1 >
        transformer.max_positions() - options.max_tokens) {
      return absl::InvalidArgumentError(absl::StrCat("prompt ",
                                                     i,
                                                     ": ",
                                                     prompts[i].size(),
                                                     " prompt tokens and ",
                                                     options.max_tokens,
                                                     " new ones exceed the context of ",
                                                     transformer.max_positions()));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status GenerateOptions::Validate() const {
  if (max_tokens < 1) {
    return absl::InvalidArgumentError(absl::StrCat("max_tokens is ", max_tokens, ", must be >= 1"));
  }
  if (threads < 1) {
    return absl::InvalidArgumentError(absl::StrCat("threads is ", threads, ", must be >= 1"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Generation>> Generate(const Transformer& transformer,
                                                 WeightSource* weights,
                                                 std::span<const std::vector<int32_t>> prompts,
                                                 const GenerateOptions& options,
                                                 Progress* progress) {
  BB_RETURN_IF_ERROR(options.Validate());
  BB_RETURN_IF_ERROR(CheckPrompts(transformer, prompts, options));
  CHECK(options.streams.empty() || options.streams.size() == prompts.size());
  const int64_t count = static_cast<int64_t>(prompts.size());
  std::vector<Generation> generations(prompts.size());
  if (options.final_streams != nullptr) options.final_streams->assign(prompts.size(), {});
  Decoder decoder(transformer, weights, options, progress);
  int64_t finished = 0;
  for (int64_t first = 0; first < count;) {
    int64_t size = 0;
    for (int64_t bytes = 0; first + size < count; ++size) {
      bytes +=
          KvCacheBytes(transformer.model().config(),
                       static_cast<int64_t>(prompts[first + size].size()) + options.max_tokens);
      if (size > 0 && bytes > options.max_kv_bytes) break;
    }
    BB_RETURN_IF_ERROR(
        decoder.Run(prompts, first, std::span(generations).subspan(first, size), &finished));
    first += size;
  }
  return generations;
}

}  // namespace bitbudget
