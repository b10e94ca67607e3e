#ifndef BITBUDGET_SCORING_FORMAT_COSTS_H_
#define BITBUDGET_SCORING_FORMAT_COSTS_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/quantize/matrix.h"
#include "scoring/scorer.h"

namespace bitbudget {

// The cost of every component in every format of its ladder, [components][formats]: an estimate of
// the divergence KL(reference || the model with this one change) in nats per token, or what stands
// for it in Scorer::cost_unit.
using FormatCosts = std::vector<std::vector<double>>;

// Zero for every format of the context's ladders.
FormatCosts NoCosts(const ScoreContext& context);

// Calls visit(i, dW) for every format i of a component's ladder, with the change dW [outputs,
// inputs] from the stored weights to those that the format decodes to; not for the stored format,
// which changes nothing. Errors: kCancelled on interruption, those of encoding the component.
absl::Status ForEachChange(const ScoreContext& context,
                           ComponentId id,
                           const std::function<void(size_t, const Matrix<float>&)>& visit);

// The sum of products of all elements of two matrices of the same shape, in double and in a fixed
// order.
double Dot(const Matrix<float>& a, const Matrix<float>& b, int threads);

// Costs as scores: a layer's score is the sum over its components, averaged over their formats; the
// larger the more important. kInternal where a cost is not finite, with component and format.
absl::StatusOr<LayerScores> ScoresOfCosts(std::string scorer,
                                          FormatCosts costs,
                                          const ScoreContext& context);

}  // namespace bitbudget

#endif  // BITBUDGET_SCORING_FORMAT_COSTS_H_
