#include "scoring/kfac.h"

#include <map>
#include <utility>
#include <vector>

#include "runtime/base/status_macros.h"
#include "runtime/quantize/input_sources.h"
#include "runtime/training/losses.h"
#include "runtime/training/products.h"
#include "scoring/format_costs.h"
#include "scoring/gradient_pass.h"

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
  }

  absl::Status Product(ComponentId id, const Matrix<float>& x, const Matrix<float>& d_y) override {
    if (sources_[id] != gram_of_) {
      gram_ = TransposedTimes(x, x, threads_);
      gram_of_ = sources_[id];
    }
    // With C^T C the sum of g g^T, tr(dW A dW^T B) is the sum of the products of C dW A and C dW.
    // For C all g will do; where there are more of them than outputs, B dW and dW A are cheaper.
    const bool fold = d_y.rows() > d_y.cols();
    const Matrix<float> outputs = fold ? TransposedTimes(d_y, d_y, threads_) : Matrix<float>();
    return ForEachChange(context_, id, [&](size_t i, const Matrix<float>& change) {
      const Matrix<float> left = fold ? TransposedTimes(outputs, change, threads_)
                                      : ProductWeights<float>(change).Backward(d_y, threads_);
      const Matrix<float> right = TimesTransposed(fold ? change : left, gram_, threads_);
      costs_[id][i] += 0.5 * Dot(left, right, threads_) / (rows_ * rows_);
    });
  }

  absl::Status Head(int64_t /*sequence*/,
                    const Matrix<float>& x,
                    const Matrix<float>& d_y) override {
    const ComponentId id = context_.model->head();
    return ForEachChange(context_, id, [&](size_t i, const Matrix<float>& change) {
      const Matrix<float> d_x = ProductWeights<float>(change).Backward(d_y, threads_);
      double sum = 0;
      for (int64_t row = 0; row < x.rows(); ++row) {
        const double along = d_x.row(row).cast<double>().dot(x.row(row).cast<double>());
        sum += along * along;
      }
      costs_[id][i] += 0.5 * sum / rows_;
    });
  }

  absl::Status Lookup(std::span<const int32_t> tokens, const Matrix<float>& d_rows) override {
    std::map<int32_t, int64_t> counts;
    for (const int32_t token : tokens) ++counts[token];
    const Matrix<float> outputs = TransposedTimes(d_rows, d_rows, threads_);
    return ForEachChange(context_, 0, [&](size_t i, const Matrix<float>& change) {
      Matrix<float> used(static_cast<int64_t>(counts.size()), change.cols());
      int64_t row = 0;
      for (const auto& [token, count] : counts) used.row(row++) = change.row(token);
      const Matrix<float> right = TimesTransposed(used, outputs, threads_);
      double sum = 0;
      row = 0;
      for (const auto& [token, count] : counts) {
        sum += static_cast<double>(count) *
               used.row(row).cast<double>().dot(right.row(row).cast<double>());
        ++row;
      }
      costs_[0][i] += 0.5 * sum / (rows_ * rows_);
    });
  }

  FormatCosts Take() { return std::move(costs_); }

 private:
  const ScoreContext& context_;
  const int threads_;
  const std::vector<ComponentId> sources_;
  double rows_ = 0;
  Matrix<float> gram_;  // the sum of x x^T of the components that share a source
  ComponentId gram_of_ = -1;
  FormatCosts costs_;
};

}  // namespace

absl::StatusOr<LayerScores> ScoreKfac(const ScoreContext& context) {
  SampledLabels<float> labels(context.seed, /*first_row=*/0);
  KfacCosts costs(context);
  BB_RETURN_IF_ERROR(RunGradientPass(context, &labels, &costs));
  return ScoresOfCosts("kfac", costs.Take(), context);
}

}  // namespace bitbudget
