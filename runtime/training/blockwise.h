#ifndef BITBUDGET_RUNTIME_TRAINING_BLOCKWISE_H_
#define BITBUDGET_RUNTIME_TRAINING_BLOCKWISE_H_

#include "absl/status/statusor.h"
#include "runtime/training/recovery_run.h"

namespace bitbudget {

// Recovery layer by layer: the weights and scales of one decoder layer at a time learn, straight
// through their rounding, to give the outputs that the original layer gives in the original model,
// from the inputs that the layer meets in the recovered one. A layer whose error on the sequences
// kept aside is not lower keeps its start. Only one layer is in memory, and the streams of all
// sequences twice. Errors: those of saving.
absl::StatusOr<MethodResult> RecoverBlockwise(const EncodedModel& start, RecoveryRun* run);

// The same with learnable weight clipping in place of weights and scales (OmniQuant, arXiv
// 2308.13137, sections 3.2 and 3.4): grids span a learned part of their groups' ranges. Matrices in
// other formats than dense integers keep their start.
absl::StatusOr<MethodResult> RecoverOmniQuant(const EncodedModel& start, RecoveryRun* run);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_BLOCKWISE_H_
