#ifndef BITBUDGET_RUNTIME_TRAINING_BATCH_ORDER_H_
#define BITBUDGET_RUNTIME_TRAINING_BATCH_ORDER_H_

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "runtime/base/random.h"

namespace bitbudget {

// Which sequences every step trains on: all of them once per epoch, in an order that depends on
// seed, stream and epoch alone, so that training can begin at any step.
class BatchOrder {
 public:
  BatchOrder(size_t sequences, int64_t batch, uint64_t seed, uint64_t stream)
      : batch_(batch), seed_(seed), stream_(stream), order_(sequences) {}

  int64_t steps_per_epoch() const {
    return (static_cast<int64_t>(order_.size()) + batch_ - 1) / batch_;
  }

  // Indices of the sequences of a step; valid until the next call.
  std::span<const int64_t> Batch(int64_t step) {
    const auto epoch = static_cast<uint64_t>(step / steps_per_epoch());
    if (epoch != epoch_) {
      epoch_ = epoch;
      std::iota(order_.begin(), order_.end(), int64_t{0});
      Random(seed_, {stream_, epoch}).Shuffle(order_);
    }
    const int64_t first = step % steps_per_epoch() * batch_;
    const auto count = static_cast<int64_t>(order_.size());
    return std::span<const int64_t>(order_).subspan(first, std::min(batch_, count - first));
  }

 private:
  const int64_t batch_;
  const uint64_t seed_;
  const uint64_t stream_;
  uint64_t epoch_ = UINT64_MAX;
  std::vector<int64_t> order_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_BATCH_ORDER_H_
