#ifndef BITBUDGET_RUNTIME_QUANTIZE_INPUT_MOMENTS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_INPUT_MOMENTS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/transformer.h"
#include "runtime/model/decoder/weights.h"
#include "runtime/quantize/weight_encoder.h"

namespace bitbudget {

// The second moments of every component's inputs over all tokens of the sequences, which are run
// through the model. Deterministic for any `threads`; memory for up to eight
// sums per component, in double, and the residual streams. kCancelled on interruption; else the
// errors of the weights.
absl::StatusOr<InputMoments> MeasureInputMoments(const Transformer& transformer,
                                                 WeightSource* weights,
                                                 std::span<const std::vector<int32_t>> sequences,
                                                 int threads,
                                                 Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_INPUT_MOMENTS_H_
