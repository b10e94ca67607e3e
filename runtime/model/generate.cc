#include "runtime/model/generate.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <mutex>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "runtime/base/parallel.h"
#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// Sequences decoded together by one worker: rows of one step. Full kernel speed starts at 6 rows.
constexpr int64_t kBatch = 12;
// Prompt positions per prefill pass.
constexpr int64_t kPrefillRows = 240;

float Margin(std::span<const float> logits, int32_t best) {
  float second = -INFINITY;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (static_cast<int32_t>(i) != best) second = std::max(second, logits[i]);
  }
  return logits[best] - second;
}

// Draws from softmax(logits) without `excluded`, walking the cumulative sum in id order.
int32_t Sample(std::span<const float> logits,
               float max,
               std::span<const int32_t> excluded,
               Random* random) {
  std::vector<double> weights(logits.size());
  for (size_t i = 0; i < logits.size(); ++i) {
    weights[i] = std::exp(static_cast<double>(logits[i]) - max);
  }
  for (const int32_t id : excluded) {
    if (id >= 0 && id < static_cast<int32_t>(weights.size())) weights[id] = 0;
  }
  double total = 0;
  for (const double weight : weights) total += weight;
  double left = random->Uniform() * total;
  int32_t last = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    last = static_cast<int32_t>(i);
    left -= weights[i];
    if (left < 0) break;
  }
  return last;
}

// Decodes a batch of sequences on one thread of execution (the products may use more).
class BatchDecoder {
 public:
  BatchDecoder(const Transformer& transformer,
               const WeightSet& weights,
               const GenerateOptions& options,
               int product_threads)
      : transformer_(transformer), weights_(weights), options_(options) {
    workspace_.threads = product_threads;
  }

  absl::Status Run(std::span<const std::vector<int32_t>> prompts,
                   int64_t first_sequence,
                   std::span<Generation> out,
                   const Progress& progress) {
    const ModelConfig& config = transformer_.model().config();
    struct Sequence {
      size_t index;
      KvCache cache;
      Random random;
    };
    std::vector<Sequence> active;
    for (size_t i = 0; i < prompts.size(); ++i) {
      const uint64_t stream =
          options_.streams.empty() ? first_sequence + i : options_.streams[first_sequence + i];
      active.push_back(
          {i,
           KvCache(config, static_cast<int64_t>(prompts[i].size()) + options_.max_tokens),
           Random(options_.seed, {stream})});
      Prefill(prompts[i], &active.back().cache);
    }
    // The last prompt token of every sequence is the first step's input.
    std::vector<int32_t> inputs;
    for (const auto& prompt : prompts) inputs.push_back(prompt.back());

    for (int64_t step = 0; step < options_.max_tokens && !active.empty(); ++step) {
      if (progress.Interrupted()) return absl::CancelledError("interrupted");
      std::vector<SequenceRows> rows;
      for (Sequence& sequence : active) rows.push_back({1, &sequence.cache});
      Forward(inputs, rows);
      const int64_t count = static_cast<int64_t>(active.size());
      logits_.Resize(count * config.vocab_size);
      transformer_.Logits(
          weights_, x_.data(), config.hidden_size, count, logits_.data(), &workspace_);

      std::vector<Sequence> still_active;
      inputs.clear();
      for (int64_t i = 0; i < count; ++i) {
        const std::span<const float> logits(logits_.data() + i * config.vocab_size,
                                            static_cast<size_t>(config.vocab_size));
        const int32_t best = ArgMax(logits);
        if (best < 0) {
          return absl::InternalError(
              absl::StrCat("sequence ",
                           first_sequence + static_cast<int64_t>(active[i].index),
                           ": logits are not finite after ",
                           active[i].cache.size(),
                           " tokens"));
        }
        const int32_t token =
            step < options_.greedy_tokens
                ? best
                : Sample(logits,
                         logits[best],
                         options_.stop_at_eos ? std::span<const int32_t>() : config.eos_token_ids,
                         &active[i].random);
        Generation& generation = out[active[i].index];
        generation.tokens.push_back(token);
        generation.margins.push_back(Margin(logits, best));
        const auto& eos = config.eos_token_ids;
        if (options_.stop_at_eos && std::find(eos.begin(), eos.end(), token) != eos.end()) continue;
        inputs.push_back(token);
        still_active.push_back(std::move(active[i]));
      }
      active = std::move(still_active);
    }
    return absl::OkStatus();
  }

 private:
  // All but the last prompt token, in chunks.
  void Prefill(std::span<const int32_t> prompt, KvCache* cache) {
    prompt = prompt.first(prompt.size() - 1);
    while (!prompt.empty()) {
      const size_t chunk = std::min<size_t>(prompt.size(), kPrefillRows);
      const SequenceRows rows{static_cast<int64_t>(chunk), cache};
      Forward(prompt.first(chunk), {&rows, 1});
      prompt = prompt.subspan(chunk);
    }
  }

  void Forward(std::span<const int32_t> tokens, std::span<const SequenceRows> rows) {
    const ModelConfig& config = transformer_.model().config();
    x_.Resize(static_cast<int64_t>(tokens.size()) * config.hidden_size);
    transformer_.Embed(weights_, tokens, x_.data());
    for (int stage = 1; stage + 1 < NumStages(config); ++stage) {
      transformer_.RunStage(stage, weights_, rows, x_.data(), &workspace_);
    }
  }

  const Transformer& transformer_;
  const WeightSet& weights_;
  const GenerateOptions& options_;
  TransformerWorkspace workspace_;
  AlignedBuffer<float> x_;
  AlignedBuffer<float> logits_;
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

int32_t ArgMax(std::span<const float> values) {
  int32_t best = 0;
  bool finite = !values.empty();
  for (size_t i = 0; i < values.size(); ++i) {
    finite = finite && std::isfinite(values[i]);
    if (values[i] > values[best]) best = static_cast<int32_t>(i);
  }
  return finite ? best : -1;
}

absl::StatusOr<std::vector<Generation>> Generate(const Transformer& transformer,
                                                 const WeightSet& weights,
                                                 std::span<const std::vector<int32_t>> prompts,
                                                 const GenerateOptions& options,
                                                 Progress* progress) {
  BB_RETURN_IF_ERROR(options.Validate());
  BB_RETURN_IF_ERROR(CheckPrompts(transformer, prompts, options));
  CHECK(options.streams.empty() || options.streams.size() == prompts.size());
  const int64_t count = static_cast<int64_t>(prompts.size());
  // Few sequences: parallelism inside the products; many: one batch per worker.
  const int64_t batch =
      std::clamp<int64_t>((count + options.threads - 1) / options.threads, 1, kBatch);
  const int64_t batches = (count + batch - 1) / batch;
  const int product_threads = batches < options.threads ? options.threads : 1;
  const int workers = product_threads == 1 ? options.threads : 1;

  std::vector<Generation> generations(prompts.size());
  std::vector<absl::Status> statuses(batches);
  std::mutex mutex;
  int64_t done = 0;
  ParallelFor(workers, batches, [&](int64_t b, int) {
    const int64_t first = b * batch;
    const size_t size = static_cast<size_t>(std::min(batch, count - first));
    BatchDecoder decoder(transformer, weights, options, product_threads);
    statuses[b] = decoder.Run(prompts.subspan(first, size),
                              first,
                              std::span(generations).subspan(first, size),
                              *progress);
    const std::lock_guard<std::mutex> lock(mutex);
    done += static_cast<int64_t>(size);
    progress->Update(done);
  });
  for (const absl::Status& status : statuses) BB_RETURN_IF_ERROR(status);
  return generations;
}

}  // namespace bitbudget
