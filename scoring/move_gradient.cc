#include "scoring/move_gradient.h"

#include <numeric>
#include <vector>

#include "runtime/base/status_macros.h"
#include "runtime/training/losses.h"
#include "scoring/weight_gradients.h"

namespace bitbudget {
namespace {

absl::StatusOr<EncodedModel> Encoded(const ScoreContext& context, const Assignment& incumbent) {
  EncodedModel encoded;
  Progress silent;
  BB_RETURN_IF_ERROR(context.bank->Prepare(incumbent, context.threads, &silent));
  for (size_t c = 0; c < incumbent.size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    if (incumbent[c] == context.bank->StoredFormat(id)) continue;
    BB_ASSIGN_OR_RETURN(encoded.encodings[id], context.bank->Encoded({id, incumbent[c]}));
  }
  return encoded;
}

}  // namespace

absl::StatusOr<FormatCosts> MoveGradients(const ScoreContext& context,
                                          const Assignment& incumbent,
                                          const OriginalOutputs& original) {
  BB_ASSIGN_OR_RETURN(const EncodedModel encoded, Encoded(context, incumbent));
  std::vector<int64_t> all(context.sequences.size());
  std::iota(all.begin(), all.end(), 0);
  Distillation<float> divergence(original.LogitsOf(all),
                                 std::vector<int32_t>(context.row_weights.size(), -1),
                                 /*kl_weight=*/1);
  WeightedRows loss(&divergence, context.row_weights);
  FormatCosts costs = NoCosts(context);
  WeightGradients gradients(context, [&](ComponentId id, const Matrix<float>& gradient) {
    const std::vector<Format>& ladder = (*context.ladders)[id];
    double own = 0;
    BB_RETURN_IF_ERROR(ForEachChange(context, id, [&](size_t i, const Matrix<float>& change) {
      costs[id][i] = Dot(gradient, change, context.threads);
      if (ladder[i] == incumbent[id]) own = costs[id][i];
    }));
    for (double& cost : costs[id]) cost -= own;
    return absl::OkStatus();
  });
  DecodedLayers layers(*context.model, encoded);
  BB_RETURN_IF_ERROR(RunGradientPassOf(
      *DecodedEnds(*context.model, encoded), &layers, context, &loss, &gradients));
  return costs;
}

}  // namespace bitbudget
