#include "runtime/model/decoder/sampling.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace bitbudget {

int32_t ArgMax(std::span<const float> values) {
  int32_t best = 0;
  bool finite = !values.empty();
  for (size_t i = 0; i < values.size(); ++i) {
    finite = finite && std::isfinite(values[i]);
    if (values[i] > values[best]) best = static_cast<int32_t>(i);
  }
  return finite ? best : -1;
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
