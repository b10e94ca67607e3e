#include "scoring/gradient_norms.h"

#include "runtime/base/status_macros.h"
#include "runtime/training/losses.h"
#include "scoring/format_costs.h"
#include "scoring/weight_gradients.h"

namespace bitbudget {

absl::StatusOr<std::vector<double>> GradientNorms(const ScoreContext& context) {
  CrossEntropy<float> loss(NextTokens(context.sequences));
  std::vector<double> norms(context.model->components().size());
  WeightGradients gradients(context, [&](ComponentId id, const Matrix<float>& gradient) {
    norms[id] = Dot(gradient, gradient, context.threads);
    return absl::OkStatus();
  });
  BB_RETURN_IF_ERROR(RunGradientPass(context, &loss, &gradients));
  return norms;
}

}  // namespace bitbudget
