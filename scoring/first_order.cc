#include "scoring/first_order.h"

#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/training/losses.h"
#include "scoring/format_costs.h"
#include "scoring/weight_gradients.h"

namespace bitbudget {

absl::StatusOr<LayerScores> ScoreFirstOrder(const ScoreContext& context) {
  CrossEntropy<float> entropy(NextTokens(context.sequences));
  WeightedRows loss(&entropy, context.row_weights);
  FormatCosts costs = NoCosts(context);
  WeightGradients gradients(context, [&](ComponentId id, const Matrix<float>& gradient) {
    const Matrix<float> sizes = gradient.cwiseAbs();
    return ForEachChange(context, id, [&](size_t i, const Matrix<float>& change) {
      costs[id][i] = Dot(sizes, change.cwiseAbs(), context.threads);
    });
  });
  BB_RETURN_IF_ERROR(RunGradientPass(context, &loss, &gradients));
  return ScoresOfCosts("first-order", std::move(costs), context);
}

}  // namespace bitbudget
