#include "runtime/quantize/clipping_problem.h"

#include <algorithm>

#include "runtime/kernels/linear.h"

namespace bitbudget {

void GramProduct::Multiply(std::span<const float> errors, int64_t rows) {
  products_.resize(errors.size());
  PackActivations(gram_.packing(), errors.data(), gram_.k, rows, gram_.k, &packed_);
  Linear(packed_, gram_, products_.data(), gram_.k, 1);
  energies_.assign(rows, 0);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t i = row * gram_.k; i < (row + 1) * gram_.k; ++i) {
      energies_[row] += static_cast<double>(errors[i]) * products_[i];
    }
  }
}

template <typename T>
std::span<T> ClippingProblem::Part(std::span<T> all, size_t i) const {
  const int64_t begin = static_cast<int64_t>(i) % groups_ * group_;
  return all.subspan(static_cast<int64_t>(i) / groups_ * cols_ + begin,
                     std::min(group_, cols_ - begin));
}

GroupClipping::Logits ClippingProblem::LogitsAt(const double* parameters, size_t i) const {
  const double* const own = parameters + i * logits_per_group_;
  return {own[0], format_.zero_point ? own[1] : 0, signs_[i]};
}

ClippingProblem::ClippingProblem(std::span<const float> weights,
                                 int64_t rows,
                                 const Format& format,
                                 const WeightPanels& gram)
    : weights_(weights),
      rows_(rows),
      cols_(gram.k),
      format_(format),
      group_(format.GroupSize(cols_)),
      groups_(format.GroupsPerRow(cols_)),
      logits_per_group_(format.zero_point ? 2 : 1),
      product_(gram),
      errors_(weights.size()),
      gradient_(weights.size()),
      best_(rows) {
  for (int64_t i = 0; i < rows * groups_; ++i) {
    clippings_.emplace_back(Part(weights, i), format);
  }
  grids_.resize(clippings_.size());
  signs_.resize(clippings_.size());
}

std::vector<double> ClippingProblem::ErrorsOf(std::span<const float> decoded) {
  for (size_t i = 0; i < errors_.size(); ++i) errors_[i] = decoded[i] - weights_[i];
  product_.Multiply(errors_, rows_);
  return {product_.energies().begin(), product_.energies().end()};
}

std::vector<double> ClippingProblem::Start(std::span<const IntegerGrid> grids,
                                           std::span<const double> errors) {
  std::vector<double> parameters;
  for (size_t i = 0; i < clippings_.size(); ++i) {
    const GroupClipping::Logits logits = clippings_[i].LogitsOf(grids[i]);
    signs_[i] = logits.sign;
    parameters.push_back(logits.high);
    if (format_.zero_point) parameters.push_back(logits.low);
  }
  units_.clear();
  for (int64_t row = 0; row < rows_; ++row) {
    best_[row].error = errors[row];
    units_.push_back(errors[row] > 0 ? 1 / errors[row] : 0);
  }
  return parameters;
}

bool ClippingProblem::Evaluate(const double* parameters, double* value, double* gradient) {
  for (size_t i = 0; i < clippings_.size(); ++i) {
    grids_[i] = clippings_[i].GridOf(LogitsAt(parameters, i));
    RoundingErrors(Part(weights_, i), grids_[i].grid, format_, Part(std::span(errors_), i));
  }
  product_.Multiply(errors_, rows_);
  *value = 0;
  for (int64_t row = 0; row < rows_; ++row) {
    const double error = product_.energies()[row];
    *value += error * units_[row];
    if (!(error < best_[row].error)) continue;
    best_[row].error = error;
    best_[row].grids.clear();
    for (int64_t g = row * groups_; g < (row + 1) * groups_; ++g) {
      best_[row].grids.push_back(grids_[g].grid);
    }
  }
  if (gradient == nullptr) return true;
  for (size_t i = 0; i < gradient_.size(); ++i) {
    gradient_[i] = static_cast<float>(2 * units_[i / cols_] * product_.products()[i]);
  }
  for (size_t i = 0; i < clippings_.size(); ++i) {
    const GroupClipping::Logits d =
        clippings_[i].Backward(Part(weights_, i),
                               LogitsAt(parameters, i),
                               grids_[i],
                               Part(std::span<const float>(gradient_), i),
                               {});
    gradient[i * logits_per_group_] = d.high;
    if (format_.zero_point) gradient[i * logits_per_group_ + 1] = d.low;
  }
  return true;
}

}  // namespace bitbudget
