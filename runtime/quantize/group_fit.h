#ifndef BITBUDGET_RUNTIME_QUANTIZE_GROUP_FIT_H_
#define BITBUDGET_RUNTIME_QUANTIZE_GROUP_FIT_H_

#include "runtime/quantize/block_search_parts.h"
#include "runtime/tensor/block_format.h"

namespace bitbudget {

// The fits of grid_fit.h for all groups of a block at once, every group on a grid of its own. A
// lane has a group, so no sum runs over lanes; the sums of a group run in the order of its weights.

// A number for every group of a block; lanes beyond its groups hold 0.
typedef float PerGroup __attribute__((vector_size(4 * kMaxBlockGroups)));

// The weights of a block of several groups, turned so that those of one place of all groups are
// side by side.
class TurnedBlock {
 public:
  static constexpr int kMaxGroup = 32;

  // REQUIRES: more than one group, of at most kMaxGroup weights.
  explicit TurnedBlock(const WeightedBlock& block);

  int size() const { return size_; }  // of a group
  int groups() const { return groups_; }
  bool weighted() const { return weighted_; }
  // Of place i, kMaxBlockGroups each. Importance only where weighted.
  const float* weights(int i) const { return weights_[i]; }
  const float* importance(int i) const { return importance_[i]; }

 private:
  int size_;
  int groups_;
  bool weighted_;
  alignas(64) float weights_[kMaxGroup][kMaxBlockGroups];
  alignas(64) float importance_[kMaxGroup][kMaxBlockGroups];
};

// As ScaleFit. A group of scale 0 has cross and energy 0.
struct GroupScaleFits {
  PerGroup error;
  PerGroup cross;
  PerGroup energy;
};

// As AffineFit, and the best move of scale and minimum that leaves the minimum at 0 or above, with
// the error after it: infinity, and no move, where nothing has importance.
struct GroupAffineFits {
  PerGroup error;
  PerGroup cross;
  PerGroup residual;
  PerGroup energy;
  PerGroup sum;
  PerGroup total;
  PerGroup scale_step;
  PerGroup minimum_step;
  PerGroup moved_error;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_GROUP_FIT_H_
