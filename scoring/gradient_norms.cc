#include "scoring/gradient_norms.h"

#include <utility>

#include "runtime/base/status_macros.h"
#include "runtime/training/losses.h"
#include "runtime/training/products.h"
#include "scoring/format_costs.h"
#include "scoring/gradient_pass.h"

namespace bitbudget {
namespace {

class Norms final : public GradientSink {
 public:
  explicit Norms(const ScoreContext& context)
      : model_(*context.model), threads_(context.threads), norms_(model_.components().size()) {
    const Component& head = model_.component(model_.head());
    table_ = Matrix<float>::Zero(head.rows, head.cols);
  }

  absl::Status Product(ComponentId id, const Matrix<float>& x, const Matrix<float>& d_y) override {
    Keep(id, TransposedTimes(d_y, x, threads_));
    return absl::OkStatus();
  }

  absl::Status Head(int64_t /*sequence*/,
                    const Matrix<float>& x,
                    const Matrix<float>& d_y) override {
    table_ += TransposedTimes(d_y, x, threads_);
    return absl::OkStatus();
  }

  absl::Status Lookup(std::span<const int32_t> tokens, const Matrix<float>& d_rows) override {
    if (model_.head() != 0) {
      Keep(model_.head(), table_);
      table_.setZero();
    }
    for (size_t row = 0; row < tokens.size(); ++row) {
      table_.row(tokens[row]) += d_rows.row(static_cast<int64_t>(row));
    }
    Keep(0, table_);
    return absl::OkStatus();
  }

  std::vector<double> Take() { return std::move(norms_); }

 private:
  void Keep(ComponentId id, const Matrix<float>& gradient) {
    norms_[id] = Dot(gradient, gradient, threads_);
  }

  const Model& model_;
  const int threads_;
  std::vector<double> norms_;
  Matrix<float> table_;  // the gradient by the head, then by the embedding; of a tied one by both
};

}  // namespace

absl::StatusOr<std::vector<double>> GradientNorms(const ScoreContext& context) {
  CrossEntropy<float> loss(NextTokens(context.sequences));
  Norms norms(context);
  BB_RETURN_IF_ERROR(RunGradientPass(context, &loss, &norms));
  return norms.Take();
}

}  // namespace bitbudget
