#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_GENERATE_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_GENERATE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/transformer.h"

namespace bitbudget {

struct GenerateOptions {
  int64_t max_tokens = 100;  // new tokens per sequence
  // Tokens taken greedily (argmax, lowest id among ties) before sampling from the softmax at
  // temperature 1 begins; the default never samples.
  int64_t greedy_tokens = INT64_MAX;
  // Stop a sequence after it produced an end-of-sequence token; otherwise such tokens are never
  // sampled (greedy steps take them as any other).
  bool stop_at_eos = true;
  // Of sampling: sequence i draws from stream (seed, streams[i]); without streams, (seed, i).
  uint64_t seed = 0;
  std::vector<uint64_t> streams;
  int threads = 1;
  // Memory for keys and values: as many sequences are decoded at a time as have room, at least one.
  int64_t max_kv_bytes = int64_t{4} << 30;

  absl::Status Validate() const;
};

// Tokens with the largest logits that are kept for every position, or the vocabulary if smaller.
inline constexpr int64_t kLikelyTokens = 8;

// New tokens of one sequence and, for every one of them, the margin between the largest and the
// second largest logit, and the tokens with the largest logits.
struct Generation {
  std::vector<int32_t> tokens;
  std::vector<float> margins;
  std::vector<int32_t> likely;  // [tokens][min(kLikelyTokens, vocab)], largest first
};

// Continues every prompt. Sequences are decoded side by side, every step one pass over the stages
// (forward.h); a sequence's result does not depend on that or on threads. `progress` is told the
// number of finished sequences. Errors: those of the weights, kInvalidArgument for an empty prompt,
// a token outside the vocabulary or more positions than the transformer has, kInternal for logits
// that are not finite (naming the sequence), kCancelled when `progress` was interrupted.
absl::StatusOr<std::vector<Generation>> Generate(const Transformer& transformer,
                                                 WeightSource* weights,
                                                 std::span<const std::vector<int32_t>> prompts,
                                                 const GenerateOptions& options,
                                                 Progress* progress);

// Memory of the keys and values of one sequence.
int64_t KvCacheBytes(const ModelConfig& config, int64_t positions);

// Index of the largest value, the lowest index among equals; -1 when any value is not finite.
int32_t ArgMax(std::span<const float> values);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_GENERATE_H_
