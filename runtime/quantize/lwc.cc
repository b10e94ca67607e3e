#include "runtime/quantize/lwc.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "runtime/base/float16.h"
#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/linear.h"
#include "runtime/kernels/panels.h"
#include "runtime/quantize/clipping.h"
#include "runtime/quantize/coded_rows.h"
#include "runtime/quantize/feedback.h"
#include "runtime/quantize/gptq_rows.h"
#include "runtime/quantize/grid_descent.h"
#include "runtime/quantize/integer_rows.h"
#include "runtime/quantize/minimize.h"
#include "runtime/quantize/row_refiner.h"

namespace bitbudget {
namespace {

// Rows that are learned as one problem, by one sum of their relative errors: enough to multiply by
// the Gram matrix at full speed. Each keeps the best of its own.
constexpr int64_t kRowsPerProblem = 12;
// What every matrix of a Gram matrix shares: the matrix itself, and what gives the errors of codes
// to those that come after them.
struct LearningTools {
  LearningTools(const Gram& from, const Format& format)
      : damped(Damp(from)),
        panels(PackWeightsF32(ViewOf(damped.gram.values, from.size, from.size))),
        descent(damped.gram.values, from.size, format),
        natural(MakeFeedback(damped, NaturalOrder(from.size))),
        by_energy(MakeFeedback(damped, ActivationOrder(damped))),
        levels(format),
        refiner(damped, *natural, levels) {}

  DampedGram damped;
  WeightPanels panels;
  GridDescent descent;
  std::unique_ptr<Feedback> natural;
  std::unique_ptr<Feedback> by_energy;
  FormatLevels levels;
  RowRefiner refiner;
};

// e H for some rows e, and e H e^T of each.
class GramProduct {
 public:
  explicit GramProduct(const WeightPanels& gram) : gram_(gram) {}

  void Multiply(std::span<const float> errors, int64_t rows) {
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
  std::span<const float> products() const { return products_; }
  std::span<const double> energies() const { return energies_; }

 private:
  const WeightPanels& gram_;
  PackedActivations packed_;
  std::vector<float> products_;
  std::vector<double> energies_;
};

// A few rows of a matrix as a problem of its logits, [row][group][high, low (zero point only)].
class RowsProblem final : public Objective {
 public:
  RowsProblem(std::span<const float> weights,
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

  // The error of every row that decodes to `decoded`.
  std::vector<double> ErrorsOf(std::span<const float> decoded) {
    for (size_t i = 0; i < errors_.size(); ++i) errors_[i] = decoded[i] - weights_[i];
    product_.Multiply(errors_, rows_);
    return {product_.energies().begin(), product_.energies().end()};
  }

  // Starts from grids [row][group] of the given errors, the logits of which are returned.
  std::vector<double> Start(std::span<const IntegerGrid> grids, std::span<const double> errors) {
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

  // The best grids of a row that were seen since, if they are better than its start.
  const std::vector<IntegerGrid>& BestGrids(int64_t row) const { return best_[row].grids; }

  int64_t size() const override { return rows_ * groups_ * logits_per_group_; }

  // The sum of the rows' errors relative to those that they started with.
  bool Evaluate(const double* parameters, double* cost, double* gradient) override {
    for (size_t i = 0; i < clippings_.size(); ++i) {
      grids_[i] = clippings_[i].GridOf(LogitsAt(parameters, i));
      RoundingErrors(Part(weights_, i), grids_[i].grid, format_, Part(std::span(errors_), i));
    }
    product_.Multiply(errors_, rows_);
    *cost = 0;
    for (int64_t row = 0; row < rows_; ++row) {
      const double error = product_.energies()[row];
      *cost += error * units_[row];
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

 private:
  struct Best {
    double error = 0;
    std::vector<IntegerGrid> grids;
  };

  // Group i of all, counted over rows.
  template <typename T>
  std::span<T> Part(std::span<T> all, size_t i) const {
    const int64_t begin = static_cast<int64_t>(i) % groups_ * group_;
    return all.subspan(static_cast<int64_t>(i) / groups_ * cols_ + begin,
                       std::min(group_, cols_ - begin));
  }
  GroupClipping::Logits LogitsAt(const double* parameters, size_t i) const {
    const double* const own = parameters + i * logits_per_group_;
    return {own[0], format_.zero_point ? own[1] : 0, signs_[i]};
  }

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

class LwcEncoder final : public Encoder {
 public:
  explicit LwcEncoder(const LwcOptions& options)
      : options_(options), starts_{MakeRtnEncoder(), MakeClipEncoder(), MakeImatrixEncoder()} {}
  absl::string_view name() const override { return "lwc"; }
  StatsNeed needs() const override { return StatsNeed::kGram; }

 protected:
  absl::Status EncodeMatrix(const TensorView& weights,
                            const InputStats& stats,
                            int threads,
                            Encoding* encoding) const override {
    const Format format = encoding->format;
    const bool learned = format.IsInteger() && !format.IsSparse();
    std::vector<Encoding> starts;
    for (const std::unique_ptr<Encoder>& encoder : starts_) {
      if (!learned && encoder != starts_.back()) continue;
      BB_ASSIGN_OR_RETURN(Encoding start, encoder->Encode(weights, format, stats, threads));
      starts.push_back(std::move(start));
    }
    if (!learned) {
      *encoding = std::move(starts.back());
      return absl::OkStatus();
    }
    const LearningTools tools(*stats.gram, format);
    const int64_t problems = (weights.rows + kRowsPerProblem - 1) / kRowsPerProblem;
    ParallelFor(threads, problems, [&](int64_t problem, int) {
      const int64_t first = problem * kRowsPerProblem;
      LearnRows(
          weights, first, std::min(kRowsPerProblem, weights.rows - first), starts, tools, encoding);
    });
    return absl::OkStatus();
  }

  // Not reached: rows are encoded whole.
  void EncodeGroup(std::span<const float>,
                   std::span<const float>,
                   const Format&,
                   std::span<uint8_t>,
                   float*,
                   int*) const override {}
  void EncodeBlock(std::span<const float>,
                   std::span<const float>,
                   const BlockTraits&,
                   BlockFields*) const override {}

 private:
  void LearnRows(const TensorView& view,
                 int64_t first,
                 int64_t rows,
                 const std::vector<Encoding>& starts,
                 const LearningTools& tools,
                 Encoding* encoding) const {
    const Format& format = encoding->format;
    const int64_t cols = view.cols;
    const int64_t groups = format.GroupsPerRow(cols);
    std::vector<float> weights(rows * cols);
    for (int64_t row = 0; row < rows; ++row) {
      view.ReadRow(first + row, std::span(weights).subspan(row * cols, cols));
    }
    RowsProblem problem(weights, rows, format, tools.panels);

    // The best start of every row.
    std::vector<double> errors(rows, std::numeric_limits<double>::infinity());
    std::vector<IntegerGrid> grids(rows * groups);
    RowBatch best{cols, weights, {}};
    for (int64_t row = 0; row < rows; ++row) {
      best.coded.push_back(CodedRow::Read(starts.back(), tools.levels, first + row));
    }
    for (const Encoding& start : starts) {
      std::vector<float> decoded(rows * cols);
      for (int64_t row = 0; row < rows; ++row) {
        DecodeReferenceRow(start, first + row, std::span(decoded).subspan(row * cols, cols));
      }
      const std::vector<double> own = problem.ErrorsOf(decoded);
      for (int64_t row = 0; row < rows; ++row) {
        if (!(own[row] < errors[row])) continue;
        errors[row] = own[row];
        best.coded[row] = CodedRow::Read(start, tools.levels, first + row);
        ReadGrids(start, first + row, std::span(grids).subspan(row * groups, groups));
      }
    }

    std::vector<double> parameters = problem.Start(grids, errors);
    Minimize(&problem, options_.iterations, &parameters);

    // The grids that it found, one group after the other.
    Encoding learned{format, rows, cols, std::vector<uint8_t>(SizeBytes(format, rows, cols))};
    GridDescent::Workspace workspace;
    RowBatch other = best;
    for (int64_t row = 0; row < rows; ++row) {
      if (!std::isfinite(errors[row])) continue;  // beyond float: the start stays
      const std::span<IntegerGrid> own = std::span(grids).subspan(row * groups, groups);
      const std::span<const float> values = std::span(weights).subspan(row * cols, cols);
      const std::vector<IntegerGrid>& seen = problem.BestGrids(row);
      std::copy(seen.begin(), seen.end(), own.begin());
      tools.descent.Improve(values, options_.sweeps, own, &workspace);
      WriteRoundedRow(values, own, row, &learned);
      other.coded[row] = CodedRow::Read(learned, tools.levels, row);
    }
    TakeBetter(other, tools, &best);

    // Codes that make up for each other's errors on these grids.
    if (options_.feedback) {
      other = best;
      if (tools.by_energy != nullptr &&
          RunFeedback(*tools.by_energy, tools.levels, nullptr, &other).ok()) {
        TakeBetter(other, tools, &best);
      }
      other = best;
      tools.refiner.Refine(&other);
      TakeBetter(other, tools, &best);
    }
    for (int64_t row = 0; row < rows; ++row) {
      best.coded[row].Write(tools.levels, first + row, encoding);
    }
  }

  // Rows of `other` that have a smaller error take the place of those of `best`.
  static void TakeBetter(const RowBatch& other, const LearningTools& tools, RowBatch* best) {
    const int64_t group = tools.levels.format().GroupSize(best->cols);
    const auto errors_of = [&](const RowBatch& batch) {
      std::vector<float> errors;
      batch.Errors(group, &errors);
      std::vector<double> out(batch.rows());
      tools.natural->OutputErrors(errors, out);
      return out;
    };
    const std::vector<double> theirs = errors_of(other);
    const std::vector<double> own = errors_of(*best);
    for (int64_t row = 0; row < best->rows(); ++row) {
      if (theirs[row] < own[row]) best->coded[row] = other.coded[row];
    }
  }

  LwcOptions options_;
  std::array<std::unique_ptr<Encoder>, 3> starts_;
};

}  // namespace

std::unique_ptr<Encoder> MakeLwcEncoder(const LwcOptions& options) {
  return std::make_unique<LwcEncoder>(options);
}

}  // namespace bitbudget
