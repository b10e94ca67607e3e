#include "scoring/format_costs.h"

#include <glog/logging.h>

#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/tensor/encoding.h"

namespace bitbudget {

FormatCosts NoCosts(const ScoreContext& context) {
  FormatCosts costs;
  for (const std::vector<Format>& ladder : *context.ladders) costs.emplace_back(ladder.size(), 0.0);
  return costs;
}

absl::Status ForEachChange(const ScoreContext& context,
                           ComponentId id,
                           const std::function<void(size_t, const Matrix<float>&)>& visit) {
  const std::vector<Format>& ladder = (*context.ladders)[id];
  const TensorView& stored = context.model->Weight(id);
  Matrix<float> change(stored.rows, stored.cols);
  for (size_t i = 0; i < ladder.size(); ++i) {
    const ComponentFormat what = {id, ladder[i]};
    if (what.format == context.bank->StoredFormat(id)) continue;
    if (context.progress->Interrupted()) return absl::CancelledError("interrupted");
    Progress silent;
    BB_RETURN_IF_ERROR(context.bank->Prepare({&what, 1}, context.threads, &silent));
    BB_ASSIGN_OR_RETURN(const Encoding encoding, context.bank->Encoded(what));
    ParallelFor(context.threads, stored.rows, [&](int64_t row, int) {
      std::vector<float> original(stored.cols);
      stored.ReadRow(row, original);
      const std::span<float> out(change.data() + row * stored.cols, original.size());
      DecodeReferenceRow(encoding, row, out);
      for (size_t j = 0; j < out.size(); ++j) out[j] -= original[j];
    });
    visit(i, change);
  }
  return absl::OkStatus();
}

double Dot(const Matrix<float>& a, const Matrix<float>& b, int threads) {
  CHECK(a.rows() == b.rows() && a.cols() == b.cols());
  std::vector<double> rows(a.rows());
  ParallelFor(threads, a.rows(), [&](int64_t row, int) {
    const float* const x = a.data() + row * a.cols();
    const float* const y = b.data() + row * b.cols();
    double sum = 0;
    for (int64_t j = 0; j < a.cols(); ++j) sum += static_cast<double>(x[j]) * y[j];
    rows[row] = sum;
  });
  return std::accumulate(rows.begin(), rows.end(), 0.0);
}

absl::StatusOr<LayerScores> ScoresOfCosts(std::string scorer,
                                          FormatCosts costs,
                                          const ScoreContext& context) {
  const Model& model = *context.model;
  LayerScores scores;
  scores.scorer = std::move(scorer);
  scores.layers.resize(model.config().num_hidden_layers);
  for (size_t c = 0; c < costs.size(); ++c) {
    const Component& component = model.components()[c];
    for (size_t i = 0; i < costs[c].size(); ++i) {
      if (!std::isfinite(costs[c][i])) {
        return absl::InternalError(absl::StrCat("the cost of ",
                                                (*context.ladders)[c][i].Name(),
                                                " for ",
                                                component.name,
                                                " is not finite"));
      }
      if (component.layer < 0) continue;
      scores.layers[component.layer] += costs[c][i] / static_cast<double>(costs[c].size());
    }
  }
  scores.order = OrderByImportance(scores.layers, MostImportant::kLargest);
  scores.costs = std::move(costs);
  return scores;
}

}  // namespace bitbudget
