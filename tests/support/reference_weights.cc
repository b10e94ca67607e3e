#include "tests/support/reference_weights.h"

#include "runtime/base/parallel.h"

namespace bitbudget {

ReferenceWeights::ReferenceWeights(const Model& model, int threads)
    : owned_(model.components().size()) {
  ParallelFor(threads, static_cast<int64_t>(owned_.size()), [&](int64_t i, int) {
    owned_[i].emplace(model, static_cast<ComponentId>(i));
  });
  for (const auto& weights : owned_) set_.components.push_back(&*weights);
}

absl::StatusOr<WeightLease> ReferenceWeights::Pin(int, int end, int) {
  return WeightLease(set_, end, nullptr);
}

}  // namespace bitbudget
