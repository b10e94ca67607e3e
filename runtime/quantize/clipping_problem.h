#ifndef BITBUDGET_RUNTIME_QUANTIZE_CLIPPING_PROBLEM_H_
#define BITBUDGET_RUNTIME_QUANTIZE_CLIPPING_PROBLEM_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/kernels/panels.h"
#include "runtime/quantize/clipping.h"
#include "runtime/quantize/integer_grid.h"
#include "runtime/quantize/minimize.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// e H for some rows e, and e H e^T of each.
class GramProduct {
 public:
  // Panels of H[k][k], which outlive it.
  explicit GramProduct(const WeightPanels& gram) : gram_(gram) {}

  // For e[rows][k].
  void Multiply(std::span<const float> errors, int64_t rows);
  std::span<const float> products() const { return products_; }
  std::span<const double> energies() const { return energies_; }

 private:
  const WeightPanels& gram_;
  PackedActivations packed_;
  std::vector<float> products_;
  std::vector<double> energies_;
};

// The output errors d H d^T of a few rows as a function of their clipping logits,
// [row][group][high, low (zero point only)]: the sum of the rows' errors relative to those that
// they started with. Its gradient passes straight through rounding (GroupClipping).
class ClippingProblem final : public DifferentiableFunction {
 public:
  // Rows w[rows][k] in a dense integer format, and the panels of H[k][k]; both outlive it.
  ClippingProblem(std::span<const float> weights,
                  int64_t rows,
                  const Format& format,
                  const WeightPanels& gram);

  // The error of every row that decodes to `decoded` [rows][k].
  std::vector<double> ErrorsOf(std::span<const float> decoded);

  // Starts from grids [row][group] with these errors; returns their logits.
  std::vector<double> Start(std::span<const IntegerGrid> grids, std::span<const double> errors);

  // The best grids of a row that were evaluated since, if they are better than its start; else
  // none.
  const std::vector<IntegerGrid>& BestGrids(int64_t row) const { return best_[row].grids; }

  int64_t size() const override { return rows_ * groups_ * logits_per_group_; }
  bool Evaluate(const double* parameters, double* value, double* gradient) override;

 private:
  struct Best {
    double error = 0;
    std::vector<IntegerGrid> grids;
  };

  // Group i of all, counted over rows.
  template <typename T>
  std::span<T> Part(std::span<T> all, size_t i) const;
  GroupClipping::Logits LogitsAt(const double* parameters, size_t i) const;

  std::span<const float> weights_;
  int64_t rows_;
  int64_t cols_;
  Format format_;
  int64_t group_;
  int64_t groups_;
  int64_t logits_per_group_;
  std::vector<GroupClipping> clippings_;
  std::vector<double> signs_;
  std::vector<double> units_;
  GramProduct product_;
  std::vector<GroupClipping::Grid> grids_;
  std::vector<float> errors_;
  std::vector<float> gradient_;
  std::vector<Best> best_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_CLIPPING_PROBLEM_H_
