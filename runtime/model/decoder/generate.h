#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_GENERATE_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_GENERATE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/sampling.h"
#include "runtime/model/decoder/transformer.h"

namespace bitbudget {

struct GenerateOptions {
  int64_t max_tokens = 100;  // new tokens per sequence
  // Tokens taken greedily (argmax, lowest id among ties) before sampling from the softmax at
  // temperature 1 begins; the default never samples.
  int64_t greedy_tokens = INT64_MAX;
  // Stop a sequence at an end-of-sequence token. Otherwise such tokens are never sampled (greedy
  // steps take them like any other).
  bool stop_at_eos = true;
  // Sequence i samples from random stream (seed, streams[i]); without streams, from (seed, i).
  uint64_t seed = 0;
  std::vector<uint64_t> streams;
  int threads = 1;
  // Memory for keys and values; as many sequences as fit, at least one, are decoded at a time.
  int64_t max_kv_bytes = int64_t{4} << 30;
  // Set to the residual streams ahead of the head, [prompt + tokens - 1][hidden] of every sequence,
  // which a pass over prompt and new tokens would compute again. Null: they are dropped.
  std::vector<std::vector<float>>* final_streams = nullptr;

  absl::Status Validate() const;
};

// New tokens of one sequence and, for each of them, the margin between the two largest logits and
// the tokens with the largest logits.
struct Generation {
  std::vector<int32_t> tokens;
  std::vector<float> margins;
  std::vector<int32_t> likely;  // [tokens][min(kLikelyTokens, vocab)], largest first
};

// Continues every prompt. Sequences are decoded side by side, one pass over the stages per step
// (forward.h); a sequence's result does not depend on the others or on threads. `progress` counts
// finished sequences. Errors: those of the weights; kInvalidArgument for an empty prompt, a token
// outside the vocabulary or more positions than the transformer has; kInternal for logits that are
// not finite (naming the sequence); kCancelled when `progress` was interrupted.
absl::StatusOr<std::vector<Generation>> Generate(const Transformer& transformer,
                                                 WeightSource* weights,
                                                 std::span<const std::vector<int32_t>> prompts,
                                                 const GenerateOptions& options,
                                                 Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_GENERATE_H_
