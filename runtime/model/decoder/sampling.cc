#include "runtime/model/decoder/sampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>

namespace bitbudget {

int32_t ArgMax(std::span<const float> values) {
  if (values.empty()) return -1;
  // Eight lanes side by side, as a pass over a vocabulary per token adds up, and block by block, so
  // that the place of the largest is looked for in one block. x * 0 is 0 for finite x only.
  using Lanes = float __attribute__((vector_size(32)));
  constexpr size_t kLanes = sizeof(Lanes) / sizeof(float);
  constexpr size_t kBlock = 32 * kLanes;
  float best = -INFINITY;
  size_t best_begin = 0;
  float zero = 0;
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    const std::span<const float> block =
        values.subspan(begin, std::min(kBlock, values.size() - begin));
    Lanes largest = Lanes{} + block[0];
    Lanes zeros = {};
    size_t i = 0;
    for (; i + kLanes <= block.size(); i += kLanes) {
      Lanes next;
      std::memcpy(&next, &block[i], sizeof(next));
      largest = next > largest ? next : largest;
      zeros += next * 0.0f;
    }
    float of_block = largest[0];
    for (size_t lane = 0; lane < kLanes; ++lane) {
      of_block = std::max(of_block, largest[lane]);
      zero += zeros[lane];
    }
    for (; i < block.size(); ++i) {
      of_block = std::max(of_block, block[i]);
      zero += block[i] * 0.0f;
    }
    if (of_block > best) {
      best = of_block;
      best_begin = begin;
    }
  }
  if (zero != 0) return -1;  // not a number, as one of the products was
  return static_cast<int32_t>(
      std::find(values.begin() + static_cast<int64_t>(best_begin), values.end(), best) -
      values.begin());
}

float Margin(std::span<const float> logits, int32_t best) {
  float second = -INFINITY;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (static_cast<int32_t>(i) != best) second = std::max(second, logits[i]);
  }
  return logits[best] - second;
}

void AppendLikely(std::span<const float> logits, std::vector<int32_t>* likely) {
  const size_t count = std::min<size_t>(logits.size(), kLikelyTokens);
  const size_t begin = likely->size();
  for (size_t i = 0; i < logits.size(); ++i) {
    const bool full = likely->size() == begin + count;
    if (full && logits[i] <= logits[likely->back()]) continue;
    if (full) likely->pop_back();
    const auto at =
        std::upper_bound(likely->begin() + static_cast<int64_t>(begin),
                         likely->end(),
                         logits[i],
                         [&](float logit, int32_t other) { return logit > logits[other]; });
    likely->insert(at, static_cast<int32_t>(i));
  }
}

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

}  // namespace bitbudget
