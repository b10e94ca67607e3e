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

// The second moments E[x_j^2] of every component's inputs over all tokens of the sequences, by the
// component that InputSources names. The same bits for any number of threads. Memory: eight sums
// per input, in double, and the residual streams. Errors: kCancelled on interruption, those of the
// weights.
absl::StatusOr<InputMoments> MeasureInputMoments(const Transformer& transformer,
                                                 WeightSource* weights,
                                                 std::span<const std::vector<int32_t>> sequences,
                                                 int threads,
                                                 Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_INPUT_MOMENTS_H_
