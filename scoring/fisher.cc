#include "scoring/fisher.h"

#include <map>
#include <utility>
#include <vector>

#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/training/products.h"
#include "scoring/format_costs.h"
#include "scoring/gradient_pass.h"
#include "scoring/weighted_labels.h"

namespace bitbudget {
namespace {

// Some rows of a matrix, by row.
using Rows = std::map<int32_t, RowVector<float>>;

// `to` += `gradient`^2
void AddSquares(const Matrix<float>& gradient, int threads, Matrix<float>* to) {
  ParallelFor(threads, gradient.rows(), [&](int64_t row, int) {
    to->row(row).array() += gradient.row(row).array().square();
  });
}

class Diagonals final : public GradientSink {
 public:
  Diagonals(const ScoreContext& context, const DiagonalFn& take)
      : context_(context),
        threads_(context.threads),
        take_(take),
        of_head_(context.sequences.size()) {
    for (const std::vector<int32_t>& sequence : context.sequences) {
      positions_ += static_cast<int64_t>(sequence.size());
    }
  }

  absl::Status Product(ComponentId id, const Matrix<float>& x, const Matrix<float>& d_y) override {
    Matrix<float> sum = Matrix<float>::Zero(d_y.cols(), x.cols());
    int64_t row = 0;
    for (const std::vector<int32_t>& sequence : context_.sequences) {
      const int64_t length = static_cast<int64_t>(sequence.size());
      const Matrix<float> inputs = x.middleRows(row, length);
      const Matrix<float> gradients = d_y.middleRows(row, length);
      AddSquares(TransposedTimes(gradients, inputs, threads_), threads_, &sum);
      row += length;
    }
    return Give(id, &sum);
  }

  absl::Status Head(int64_t sequence, const Matrix<float>& x, const Matrix<float>& d_y) override {
    const Matrix<float> gradient = TransposedTimes(d_y, x, threads_);
    if (sequence == 0) sum_ = Matrix<float>::Zero(gradient.rows(), gradient.cols());
    AddSquares(gradient, threads_, &sum_);
    if (context_.model->head() == 0) {
      for (const int32_t token : context_.sequences[sequence]) {
        of_head_[sequence][token] = gradient.row(token);
      }
      return absl::OkStatus();
    }
    if (sequence + 1 < static_cast<int64_t>(context_.sequences.size())) return absl::OkStatus();
    return Give(context_.model->head(), &sum_);
  }

  absl::Status Lookup(std::span<const int32_t> /*tokens*/, const Matrix<float>& d_rows) override {
    const Component& embedding = context_.model->component(0);
    const bool tied = context_.model->head() == 0;
    if (!tied) sum_ = Matrix<float>::Zero(embedding.rows, embedding.cols);
    int64_t row = 0;
    for (size_t s = 0; s < context_.sequences.size(); ++s) {
      Rows gradients;
      for (const int32_t token : context_.sequences[s]) {
        RowVector<float>& gradient = gradients[token];
        if (gradient.size() == 0) gradient = RowVector<float>::Zero(embedding.cols);
        gradient += d_rows.row(row++);
      }
      for (const auto& [token, gradient] : gradients) {
        sum_.row(token).array() += gradient.array().square();
        // (h + e)^2, where h^2 is there already.
        if (tied) sum_.row(token).array() += 2 * gradient.array() * of_head_[s][token].array();
      }
    }
    return Give(0, &sum_);
  }

 private:
  absl::Status Give(ComponentId id, Matrix<float>* sum) const {
    *sum /= static_cast<float>(positions_);
    const absl::Status status = take_(id, *sum);
    sum->resize(0, 0);
    return status;
  }

  const ScoreContext& context_;
  const int threads_;
  const DiagonalFn& take_;
  int64_t positions_ = 0;
  // Of the head, then of the embedding; of a tied one, of both uses.
  Matrix<float> sum_;
  // Of a tied embedding as a head: every sequence's gradient by the rows of its own tokens.
  std::vector<Rows> of_head_;
};

}  // namespace

absl::Status MeasureFisher(const ScoreContext& context, const DiagonalFn& take) {
  WeightedLabels labels(context);
  Diagonals diagonals(context, take);
  return RunGradientPass(context, &labels, &diagonals);
}

absl::StatusOr<LayerScores> ScoreFisher(const ScoreContext& context) {
  FormatCosts costs = NoCosts(context);
  const auto take = [&](ComponentId id, const Matrix<float>& diagonal) {
    return ForEachChange(context, id, [&](size_t i, const Matrix<float>& change) {
      const Matrix<float> squares = change.array().square();
      costs[id][i] = 0.5 * Dot(squares, diagonal, context.threads);
    });
  };
  BB_RETURN_IF_ERROR(MeasureFisher(context, take));
  return ScoresOfCosts("fisher", std::move(costs), context);
}

}  // namespace bitbudget
