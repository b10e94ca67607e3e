#ifndef BITBUDGET_SCORING_INPUT_MOMENTS_H_
#define BITBUDGET_SCORING_INPUT_MOMENTS_H_

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/model/transformer.h"
#include "runtime/model/weights.h"

namespace bitbudget {

// The second moments E[x_j^2] of what components are multiplied with, one per input, in f32: the
// diagonal of the Gram matrix over the tokens, what llama.cpp calls an importance matrix. By
// component, those that share their inputs under the first of them (InputSources).
using InputMoments = std::map<ComponentId, std::vector<float>>;

// Runs the sequences through the model. Deterministic for any `threads`; memory for up to eight
// sums per component, in double, and the residual streams. kCancelled on interruption; else the
// errors of the weights.
absl::StatusOr<InputMoments> MeasureInputMoments(const Transformer& transformer,
                                                 WeightSource* weights,
                                                 std::span<const std::vector<int32_t>> sequences,
                                                 int threads,
                                                 Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_INPUT_MOMENTS_H_
