#include "scoring/kfac.h"

#include <cmath>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"
#include "runtime/quantize/input_sources.h"
#include "runtime/training/products.h"
#include "scoring/format_costs.h"
#include "scoring/gradient_pass.h"
#include "scoring/weighted_labels.h"

namespace bitbudget {
namespace {

// Streams of the seed that signs are drawn from.
constexpr uint64_t kInputSigns = 11;
constexpr uint64_t kGradientSigns = 12;

// A matrix of at most kKfacRows rows whose Gram matrix is that of `m` in expectation, with the
// same trace: rows are added up in buckets with random signs (CountSketch: Charikar, Chen,
// Farach-Colton 2002; Clarkson and Woodruff 2013). `m` itself where it has few rows.
Matrix<float> Sketch(const Matrix<float>& m, uint64_t seed, uint64_t stream) {
  if (m.rows() <= kKfacRows) return m;
  Matrix<float> sketch = Matrix<float>::Zero(kKfacRows, m.cols());
  Random random(seed, {stream});
  for (int64_t row = 0; row < m.rows(); ++row) {
    const float sign = random.Next() >> 63 != 0 ? 1.0f : -1.0f;
    sketch.row(row % kKfacRows) += sign * m.row(row);
  }
  const double trace = Dot(m, m, 1);
  const double sketched = Dot(sketch, sketch, 1);
  if (sketched > 0) sketch *= static_cast<float>(std::sqrt(trace / sketched));
  return sketch;
}

class KfacCosts final : public GradientSink {
 public:
  explicit KfacCosts(const ScoreContext& context)
      : context_(context),
        threads_(context.threads),
        sources_(InputSources(*context.model)),
        costs_(NoCosts(context)) {
    for (const std::vector<int32_t>& sequence : context.sequences) {
      rows_ += static_cast<int64_t>(sequence.size());
    }
    if (!context.pairs) return;
    for (const std::vector<Format>& ladder : *context.ladders) {
      pairs_.emplace_back(ladder.size() * ladder.size(), 0.0);
    }
  }

  // With X the inputs and C the gradients of all rows, tr(dW X^T X dV^T C^T C) is the sum of the
  // products of C dW X^T and C dV X^T.
  absl::Status Product(ComponentId id, const Matrix<float>& x, const Matrix<float>& d_y) override {
    if (sources_[id] != inputs_of_) {
      inputs_ = Sketch(x, context_.seed, kInputSigns);
      inputs_of_ = sources_[id];
    }
    const Matrix<float> gradients = Sketch(d_y, context_.seed, kGradientSigns);
    const double rows = static_cast<double>(rows_);
    return AddForms(id, 1 / (rows * rows), [&](const Matrix<float>& change) {
      const Matrix<float> d_x = ProductWeights<float>(change).Backward(gradients, threads_);
      return TimesTransposed(d_x, inputs_, threads_);
    });
  }

  // Of the head inputs and gradients depend on each other too much for factors: g^T dW x of every
  // position that is taken.
  absl::Status Head(int64_t sequence, const Matrix<float>& x, const Matrix<float>& d_y) override {
    const int64_t step = (rows_ + kKfacHeadRows - 1) / kKfacHeadRows;
    if (sequence == 0) {
      const int64_t taken = (rows_ + step - 1) / step;
      head_x_.resize(taken, x.cols());
      head_d_.resize(taken, d_y.cols());
    }
    for (int64_t row = 0; row < x.rows(); ++row, ++seen_) {
      if (seen_ % step != 0) continue;
      head_x_.row(seen_ / step) = x.row(row);
      head_d_.row(seen_ / step) = d_y.row(row);
    }
    if (seen_ < rows_) return absl::OkStatus();
    const absl::Status status = AddForms(
        context_.model->head(),
        1 / static_cast<double>(head_x_.rows()),
        [&](const Matrix<float>& change) -> Matrix<float> {
          const Matrix<float> d_x = ProductWeights<float>(change).Backward(head_d_, threads_);
          return d_x.cwiseProduct(head_x_).rowwise().sum();
        });
    head_x_.resize(0, 0);
    head_d_.resize(0, 0);
    return status;
  }

  absl::Status Lookup(std::span<const int32_t> tokens, const Matrix<float>& d_rows) override {
    std::map<int32_t, int64_t> counts;
    for (const int32_t token : tokens) ++counts[token];
    const Matrix<float> gradients = Sketch(d_rows, context_.seed, kGradientSigns);
    const double rows = static_cast<double>(rows_);
    return AddForms(0, 1 / (rows * rows), [&](const Matrix<float>& change) {
      Matrix<float> used(static_cast<int64_t>(counts.size()), change.cols());
      int64_t row = 0;
      for (const auto& [token, count] : counts) {
        used.row(row++) = std::sqrt(static_cast<float>(count)) * change.row(token);
      }
      return TimesTransposed(used, gradients, threads_);
    });
  }

  FormatCosts TakeCosts() { return std::move(costs_); }
  std::vector<std::vector<double>> TakePairs() { return std::move(pairs_); }

 private:
  // Adds half of `scale` times the squared norms of along(dW) of all formats, and the products
  // between these.
  absl::Status AddForms(ComponentId id,
                        double scale,
                        const std::function<Matrix<float>(const Matrix<float>&)>& along) {
    const size_t formats = (*context_.ladders)[id].size();
    std::vector<Matrix<float>> forms(formats);
    return ForEachChange(context_, id, [&](size_t i, const Matrix<float>& change) {
      forms[i] = along(change);
      for (size_t j = context_.pairs ? 0 : i; j <= i; ++j) {
        if (forms[j].size() == 0) continue;  // the stored format, which changes nothing
        const double form = 0.5 * scale * Dot(forms[i], forms[j], threads_);
        if (i == j) costs_[id][i] += form;
        if (!context_.pairs) continue;
        pairs_[id][i * formats + j] += form;
        if (i != j) pairs_[id][j * formats + i] += form;
      }
      if (!context_.pairs) forms[i].resize(0, 0);
    });
  }

  const ScoreContext& context_;
  const int threads_;
  const std::vector<ComponentId> sources_;
  int64_t rows_ = 0;
  Matrix<float> inputs_;  // of the components that share a source
  ComponentId inputs_of_ = -1;
  int64_t seen_ = 0;  // rows of the head, and those that are taken
  Matrix<float> head_x_;
  Matrix<float> head_d_;
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
