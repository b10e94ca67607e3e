#include "runtime/quantize/lwc_encoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "runtime/base/parallel.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/panels.h"
#include "runtime/quantize/clip_encoder.h"
#include "runtime/quantize/clipping_problem.h"
#include "runtime/quantize/coded_rows.h"
#include "runtime/quantize/feedback.h"
#include "runtime/quantize/gptq_rows.h"
#include "runtime/quantize/gram_factors.h"
#include "runtime/quantize/grid_descent.h"
#include "runtime/quantize/minimize.h"
#include "runtime/quantize/row_refiner.h"
#include "runtime/quantize/rtn_encoder.h"

namespace bitbudget {
namespace {

// Rows that are learned as one problem, by one sum of their relative errors: enough to multiply by
// the Gram matrix at full speed. Each keeps the best of its own.
constexpr int64_t kRowsPerProblem = 12;

// Of the line search minimiser, for every such problem.
constexpr int kIterations = 40;

// Rounds over the groups of a row, after it (grid_descent.h).
constexpr int kSweeps = 4;

// What all rows share.
struct LearningTools {
  LearningTools(const GramFactors& of, const Format& format)
      : factors(of),
        descent(of.damped.gram.values, of.damped.gram.size, format),
        levels(format),
        refiner(of, levels) {}

  const GramFactors& factors;
  GridDescent descent;
  FormatLevels levels;
  RowRefiner refiner;
};

class LwcEncoder final : public Encoder {
 public:
  LwcEncoder() : starts_{MakeRtnEncoder(), MakeClipEncoder(), MakeImatrixEncoder()} {}
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
    std::optional<GramFactors> own;
    const LearningTools tools(stats.factors != nullptr ? *stats.factors : own.emplace(*stats.gram),
                              format);
    const int64_t problems = (weights.rows + kRowsPerProblem - 1) / kRowsPerProblem;
    ParallelFor(threads, problems, [&](int64_t problem, int) {
      const int64_t first = problem * kRowsPerProblem;
      LearnRows(
          weights, first, std::min(kRowsPerProblem, weights.rows - first), starts, tools, encoding);
    });
    return absl::OkStatus();
  }

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
    ClippingProblem problem(weights, rows, format, tools.factors.panels);

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
        const std::vector<IntegerGrid> seen = best.coded[row].IntegerGrids();
        std::copy(seen.begin(), seen.end(), grids.begin() + row * groups);
      }
    }

    std::vector<double> parameters = problem.Start(grids, errors);
    Minimize(&problem, kIterations, &parameters);

    // The grids that it found, one group after the other.
    GridDescent::Workspace workspace;
    RowBatch other = best;
    for (int64_t row = 0; row < rows; ++row) {
      if (!std::isfinite(errors[row])) continue;  // beyond float: the start stays
      const std::span<IntegerGrid> own = std::span(grids).subspan(row * groups, groups);
      const std::span<const float> values = std::span(weights).subspan(row * cols, cols);
      const std::vector<IntegerGrid>& seen = problem.BestGrids(row);
      std::copy(seen.begin(), seen.end(), own.begin());
      tools.descent.Improve(values, kSweeps, own, &workspace);
      other.coded[row] = CodedRow::Round(values, own, tools.levels);
    }
    TakeBetter(other, tools, &best);

    // Codes that make up for each other's errors on these grids.
    other = best;
    std::vector<double> found(rows);
    if (tools.factors.by_energy != nullptr &&
        RunFeedback(*tools.factors.by_energy, tools.levels, nullptr, &other, found).ok()) {
      TakeBetter(other, tools, &best);
    }
    other = best;
    tools.refiner.Refine(&other);
    TakeBetter(other, tools, &best);
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
      tools.factors.natural->OutputErrors(errors, out);
      return out;
    };
    const std::vector<double> theirs = errors_of(other);
    const std::vector<double> own = errors_of(*best);
    for (int64_t row = 0; row < best->rows(); ++row) {
      if (theirs[row] < own[row]) best->coded[row] = other.coded[row];
    }
  }

  std::array<std::unique_ptr<Encoder>, 3> starts_;
};

}  // namespace

std::unique_ptr<Encoder> MakeLwcEncoder() { return std::make_unique<LwcEncoder>(); }

}  // namespace bitbudget
