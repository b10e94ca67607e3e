#include "scoring/weighted_error.h"

#include <numeric>
#include <utility>
#include <vector>

#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/input_moments.h"
#include "runtime/quantize/input_sources.h"
#include "scoring/format_costs.h"

namespace bitbudget {
namespace {

// How often every token occurs, as a share of all.
std::vector<double> Frequencies(const ScoreContext& context) {
  std::vector<double> frequencies(context.model->component(0).rows);
  double positions = 0;
  for (const std::vector<int32_t>& sequence : context.sequences) {
    for (const int32_t token : sequence) ++frequencies[token];
    positions += static_cast<double>(sequence.size());
  }
  for (double& frequency : frequencies) frequency /= positions;
  return frequencies;
}

}  // namespace

absl::StatusOr<LayerScores> ScoreWeightedError(const ScoreContext& context) {
  AssignmentWeights reference = context.bank->Reference();
  BB_ASSIGN_OR_RETURN(
      const InputMoments moments,
      MeasureInputMoments(
          *context.transformer, &reference, context.sequences, context.threads, context.progress));
  const std::vector<ComponentId> sources = InputSources(*context.model);
  FormatCosts costs = NoCosts(context);
  for (size_t c = 0; c < costs.size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    const Component& component = context.model->component(id);
    const std::vector<double> of_rows =
        id == 0 ? Frequencies(context) : std::vector<double>(component.rows);
    const std::vector<float> of_columns =
        sources[id] < 0 ? std::vector<float>(component.cols) : moments.at(sources[id]);
    BB_RETURN_IF_ERROR(ForEachChange(context, id, [&](size_t i, const Matrix<float>& change) {
      std::vector<double> rows(change.rows());
      ParallelFor(context.threads, change.rows(), [&](int64_t row, int) {
        for (int64_t j = 0; j < change.cols(); ++j) {
          const double error = change(row, j);
          rows[row] += (of_rows[row] + of_columns[j]) * error * error;
        }
      });
      costs[id][i] = std::accumulate(rows.begin(), rows.end(), 0.0);
    }));
  }
  return ScoresOfCosts("weighted-error", std::move(costs), context);
}

}  // namespace bitbudget
