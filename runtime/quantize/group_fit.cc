#include "runtime/quantize/group_fit.h"

#include <glog/logging.h>

namespace bitbudget {

TurnedBlock::TurnedBlock(const WeightedBlock& block)
    : size_(block.traits.group),
      groups_(block.traits.groups()),
      weighted_(!block.importance.empty()) {
  CHECK_LE(size_, kMaxGroup);
  for (int i = 0; i < size_; ++i) {
    for (int g = 0; g < kMaxBlockGroups; ++g) {
      const size_t at = static_cast<size_t>(g * size_ + i);
      weights_[i][g] = g < groups_ ? block.weights[at] : 0.0f;
      if (weighted_) importance_[i][g] = g < groups_ ? block.importance[at] : 0.0f;
    }
  }
}

}  // namespace bitbudget
