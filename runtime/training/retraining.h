#ifndef BITBUDGET_RUNTIME_TRAINING_RETRAINING_H_
#define BITBUDGET_RUNTIME_TRAINING_RETRAINING_H_

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "runtime/quantize/weight_encoder.h"
#include "runtime/tensor/format.h"
#include "runtime/training/recovery.h"

namespace bitbudget {

// Retraining between rounds of pruning (Divergent Token Metrics, arXiv 2311.01544: 450 steps with
// masks, then 50 without).

struct RetrainingSteps {
  int64_t masked = 0;    // with the masks of the pruned model: what they leave out stays zero
  int64_t unmasked = 0;  // afterwards, from zero where masks were; the next round prunes the result

  // kInvalidArgument for a negative number, and for no steps at all.
  absl::Status Validate() const;
};

// kInvalidArgument unless matrices in this format are float numbers, pruned or not, or removed.
absl::Status CheckRetrainable(const Format& format);

// Encodes a model of these weights in the formats that it has.
using PruneWeights = std::function<absl::StatusOr<ComponentEncodings>(const ReplacedWeights&)>;

struct Retrained {
  // Of the components of layers in sparse float formats; empty: there are none, or nothing was
  // gained.
  ReplacedWeights weights;
  // Steps taken, and mean KL divergences of the pruned model from the original over the sequences
  // kept aside, in nats per token; equal where nothing was gained.
  int64_t steps = 0;
  double loss_before = 0;
  double loss_after = 0;
  bool complete = true;  // false: interrupted; the weights are the best so far
};

// Trains the weights of a pruned model, distilled from the original. Matrices that are dense,
// removed or outside of the layers stay. Both kinds of steps are taken back unless the model that
// they lead to, pruned again by `prune`, is closer to the original on the sequences kept aside: the
// result is never worse than `pruned` there. Of `options`, steps, minutes and freeze are not used.
// Deterministic for any number of threads. Errors: those of training (recovery.h) and of `prune`.
absl::StatusOr<Retrained> Retrain(const Model& model,
                                  const ComponentEncodings& pruned,
                                  const PruneWeights& prune,
                                  const RetrainingSteps& steps,
                                  const RecoveryData& data,
                                  const RecoveryOptions& options,
                                  Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_RETRAINING_H_
