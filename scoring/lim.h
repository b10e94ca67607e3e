#ifndef BITBUDGET_SCORING_LIM_H_
#define BITBUDGET_SCORING_LIM_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/transformer.h"
#include "scoring/scores.h"

namespace bitbudget {

// Layer Input Modification (Layer-Wise Quantization, arXiv 2406.17415): for layer i with residual
// stream x_i before and x_{i+1} after it,
//   LIM_i = -mean over tokens of cos(x_i[t], x_{i+1}[t]),
// so a layer that changes its input more scores higher and is more important. All positions of all
// sequences count once. `attention` and `mlp` of the result hold the same measure across each half
// of a layer, before and after its addition to the residual stream. A token whose stream is all
// zero on either side counts as cosine 0.
// Errors: kCancelled on interruption, kInternal when the stream is not finite, or
// those of the weights.
absl::StatusOr<LayerScores> ScoreLim(const Transformer& transformer,
                                     WeightSource* weights,
                                     std::span<const std::vector<int32_t>> sequences,
                                     int threads,
                                     Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_LIM_H_
