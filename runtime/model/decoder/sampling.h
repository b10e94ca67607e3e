#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_SAMPLING_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_SAMPLING_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/random.h"

namespace bitbudget {

// Functions of one position's logits [vocab]. They are finite but for ArgMax().

// Index of the largest value, the lowest index among equals; -1 when any value is not finite.
int32_t ArgMax(std::span<const float> values);

// The largest logit, logits[best], minus the second largest.
float Margin(std::span<const float> logits, int32_t best);

// How many of the likeliest tokens are kept of a position (the vocabulary, if it is smaller).
inline constexpr int64_t kLikelyTokens = 8;

// Appends the ids of the kLikelyTokens largest logits, largest first, the lowest id first among
// equals.
void AppendLikely(std::span<const float> logits, std::vector<int32_t>* likely);

// Draws from softmax(logits) without the ids `excluded`, walking the cumulative sum in id order.
// `max` is the largest logit.
int32_t Sample(std::span<const float> logits,
               float max,
               std::span<const int32_t> excluded,
               Random* random);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_SAMPLING_H_
