#include "scoring/kfac.h"

#include <map>
#include <utility>
#include <vector>

#include "runtime/base/status_macros.h"
#include "runtime/quantize/input_sources.h"
#include "runtime/training/products.h"
#include "scoring/format_costs.h"
#include "scoring/gradient_pass.h"
#include "scoring/weighted_labels.h"

namespace bitbudget {
namespace {

class KfacCosts final : public GradientSink {
 public:
  explicit KfacCosts(const ScoreContext& context)
      : context_(context),
        threads_(context.threads),
        sources_(InputSources(*context.model)),
        costs_(NoCosts(context)) {
    for (const std::vector<int32_t>& sequence : context.sequences)
      rows_ += static_cast<double>(sequence.size());
    if (!context.pairs) return;
    for (const std::vector<Format>& ladder : *context.ladders) {
      pairs_.emplace_back(ladder.size() * ladder.size(), 0.0);
    }
  }

  absl::Status Product(ComponentId id, const Matrix<float>& x, const Matrix<float>& d_y) override {
    if (sources_[id] != gram_of_) {
      gram_ = TransposedTimes(x, x, threads_);
      gram_of_ = sources_[id];
    }
    // With C^T C the sum of g g^T, tr(dW A dV^T B) is the sum of the products of C dW A and C dV.
    // For C all g will do; where there are more of them than outputs, B dV and dW A are cheaper.
    const bool fold = d_y.rows() > d_y.cols();
    const Matrix<float> outputs = fold ? TransposedTimes(d_y, d_y, threads_) : Matrix<float>();
    std::vector<Matrix<float>> lefts(FormatsOf(id));
    return ForEachChange(context_, id, [&](size_t i, const Matrix<float>& change) {
      lefts[i] = fold ? TransposedTimes(outputs, change, threads_)
                      : ProductWeights<float>(change).Backward(d_y, threads_);
      const Matrix<float> right = TimesTransposed(fold ? change : lefts[i], gram_, threads_);
      for (size_t j = context_.pairs ? 0 : i; j <= i; ++j) {
        if (lefts[j].size() == 0) continue;  // the stored format, which changes nothing
        Add(id, i, j, 0.5 * Dot(lefts[j], right, threads_) / (rows_ * rows_));
      }
      if (!context_.pairs) lefts[i].resize(0, 0);
    });
  }

  absl::Status Head(int64_t /*sequence*/,
                    const Matrix<float>& x,
                    const Matrix<float>& d_y) override {
    const ComponentId id = context_.model->head();
    std::vector<Eigen::VectorXd> along(FormatsOf(id));  // g^T dW x of every position
    return ForEachChange(context_, id, [&](size_t i, const Matrix<float>& change) {
      const Matrix<float> d_x = ProductWeights<float>(change).Backward(d_y, threads_);
      along[i].resize(x.rows());
      for (int64_t row = 0; row < x.rows(); ++row) {
        along[i][row] = d_x.row(row).cast<double>().dot(x.row(row).cast<double>());
      }
      for (size_t j = context_.pairs ? 0 : i; j <= i; ++j) {
        if (along[j].size() == 0) continue;
        double sum = 0;
        for (int64_t row = 0; row < x.rows(); ++row) sum += along[i][row] * along[j][row];
        Add(id, i, j, 0.5 * sum / rows_);
      }
    });
  }

  absl::Status Lookup(std::span<const int32_t> tokens, const Matrix<float>& d_rows) override {
    std::map<int32_t, int64_t> counts;
    for (const int32_t token : tokens) ++counts[token];
    const Matrix<float> outputs = TransposedTimes(d_rows, d_rows, threads_);
    std::vector<Matrix<float>> used(FormatsOf(0));  // the rows of tokens that occur
    return ForEachChange(context_, 0, [&](size_t i, const Matrix<float>& change) {
      used[i].resize(static_cast<int64_t>(counts.size()), change.cols());
      int64_t row = 0;
      for (const auto& [token, count] : counts) used[i].row(row++) = change.row(token);
      const Matrix<float> right = TimesTransposed(used[i], outputs, threads_);
      for (size_t j = context_.pairs ? 0 : i; j <= i; ++j) {
        if (used[j].size() == 0) continue;
        double sum = 0;
        row = 0;
        for (const auto& [token, count] : counts) {
          sum += static_cast<double>(count) *
                 used[j].row(row).cast<double>().dot(right.row(row).cast<double>());
          ++row;
        }
        Add(0, i, j, 0.5 * sum / (rows_ * rows_));
      }
    });
  }

  FormatCosts TakeCosts() { return std::move(costs_); }
  std::vector<std::vector<double>> TakePairs() { return std::move(pairs_); }

 private:
  size_t FormatsOf(ComponentId id) const { return (*context_.ladders)[id].size(); }

  void Add(ComponentId id, size_t i, size_t j, double value) {
    if (i == j) costs_[id][i] += value;
    if (!context_.pairs) return;
    pairs_[id][i * FormatsOf(id) + j] += value;
    if (i != j) pairs_[id][j * FormatsOf(id) + i] += value;
  }

  const ScoreContext& context_;
  const int threads_;
  const std::vector<ComponentId> sources_;
  double rows_ = 0;
  Matrix<float> gram_;  // the sum of x x^T of the components that share a source
  ComponentId gram_of_ = -1;
  FormatCosts costs_;
  std::vector<std::vector<double>> pairs_;
};

}  // namespace

absl::StatusOr<LayerScores> ScoreKfac(const ScoreContext& context) {
  WeightedLabels labels(context);
  KfacCosts costs(context);
  BB_RETURN_IF_ERROR(RunGradientPass(context, &labels, &costs));
  BB_ASSIGN_OR_RETURN(LayerScores scores, ScoresOfCosts("kfac", costs.TakeCosts(), context));
  scores.pairs = costs.TakePairs();
  return scores;
}

}  // namespace bitbudget
