#ifndef BITBUDGET_RUNTIME_TRAINING_END_TO_END_H_
#define BITBUDGET_RUNTIME_TRAINING_END_TO_END_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/training/recovery_run.h"

namespace bitbudget {

// Recovery of all layers together, by distillation from the original model. Embedding, head, norms
// and biases stay. All three save their state eight times on the way. Errors: those of
// saving.

// Scales alone: codes stay, so that little is learned and little is kept in memory.
absl::StatusOr<MethodResult> RecoverScales(const EncodedModel& start, RecoveryRun* run);

// Weights and scales, straight through their rounding, but for the matrices that
// RecoveryOptions::freeze names (Oh! We Freeze, arXiv 2403.18159): these keep their codes and
// scales, and gradients flow through them.
absl::StatusOr<MethodResult> RecoverByDistillation(const EncodedModel& start, RecoveryRun* run);

// The same with the loss of OneBit (arXiv 2402.11295, equations 8 to 10): KL from the original plus
// hidden_weight times the distance of normalised hidden states, a mean over tokens and a sum over
// layers.
absl::StatusOr<MethodResult> RecoverOneBit(const EncodedModel& start, RecoveryRun* run);

// The float weights of sparse formats that masks keep, and all weights of dense f32 matrices, by
// the loss of distill: what retraining does between rounds of pruning (retraining.h). `frozen` stay
// as they are; `name` is what progress shows, and `zeros` the share of zeros that decides the
// learning rate (PrunedRate). REQUIRES: options().steps > 0.
absl::StatusOr<MethodResult> TrainFloats(const char* name,
                                         const EncodedModel& start,
                                         std::vector<ComponentId> frozen,
                                         double zeros,
                                         RecoveryRun* run);

// The components whose codes stay under "none", "ov", "qk" or "random" (as many parameters as ov,
// chosen by the seed). kInvalidArgument for another name.
absl::StatusOr<std::vector<ComponentId>> FrozenComponents(const Model& model,
                                                          const std::string& freeze,
                                                          uint64_t seed);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_END_TO_END_H_
