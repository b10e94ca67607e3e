#include "runtime/quantize/gptq_rows.h"

#include <glog/logging.h>

#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <limits>

#include "runtime/base/status_macros.h"
#include "runtime/kernels/linear.h"
#include "runtime/quantize/lattice_points.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {
namespace {

// Positions [begin, begin + width) of the rows, weights plus feedback.
struct Targets {
  int64_t begin;
  int64_t width;
  AlignedBuffer<float> values;  // [rows][kColumnBatch]

  float* Row(int64_t row) { return values.data() + row * Feedback::kColumnBatch; }
};

// Chooses the grids of the unit whose first input is `begin`, from the rows' targets, weighed by
// the costs of its inputs.
absl::Status ChooseGrids(const Encoder& chooser,
                         const FormatLevels& levels,
                         std::span<const float> costs,
                         int64_t begin,
                         Targets* targets,
                         RowBatch* batch) {
  const Format& format = levels.format();
  const int64_t width = static_cast<int64_t>(costs.size());
  std::vector<float> unit(batch->rows() * width);
  for (int64_t row = 0; row < batch->rows(); ++row) {
    const float* const target = targets->Row(row) + begin - targets->begin;
    // A weight of 0 costs nothing on any grid: grids are fitted to the weights that are stored.
    for (int64_t i = 0; i < width; ++i) {
      unit[row * width + i] = batch->coded[row].Keeps(begin + i) ? target[i] : 0.0f;
    }
  }
  InputStats stats;
  stats.moments = costs;
  BB_ASSIGN_OR_RETURN(const Encoding encoding,
                      chooser.Encode(ViewOf(unit, batch->rows(), width), format, stats, 1));
  const int64_t group = format.GroupSize(batch->cols);
  for (int64_t row = 0; row < batch->rows(); ++row) {
    const CodedRow chosen = CodedRow::Read(encoding, levels, row);
    CodedRow& coded = batch->coded[row];
    std::copy(chosen.grids.begin(), chosen.grids.end(), coded.grids.begin() + begin / group);
    if (levels.traits() != nullptr) {
      coded.blocks[begin / levels.traits()->block] = chosen.blocks.front();
    }
  }
  return absl::OkStatus();
}

// Tries of a unit, each with the feedback that the one before gives within the unit.
constexpr int kUnitTries = 3;

// Sets the levels of a unit of a codebook type, chosen together: those of the least
//   sum over its inputs j of costs[j] (targets[j] + feedback within the unit - value j)^2
// that is found. `targets`: at `position`, the unit's first.
void ChooseUnit(const Feedback& feedback,
                const LatticePoints& points,
                const LevelGrid& grid,
                std::span<const float> weights,
                std::span<const float> targets,
                int64_t position,
                std::span<int16_t> levels) {
  const int unit = points.unit();
  const std::span<const float> costs = feedback.costs().subspan(position, unit);
  const int64_t in_batch = position % Feedback::kColumnBatch;
  std::array<float, kMaxBlock> wanted;
  std::array<float, kMaxBlock> scaled;
  std::array<int8_t, kMaxBlock> tried;
  std::copy_n(targets.begin(), unit, wanted.begin());
  float best = std::numeric_limits<float>::infinity();
  for (int round = 0; round < kUnitTries; ++round) {
    for (int j = 0; j < unit; ++j) scaled[j] = wanted[j] * grid.inverse;
    points.Nearest(std::span(scaled).first(unit), costs, std::span(tried).first(unit));
    std::copy_n(targets.begin(), unit, wanted.begin());
    float error = 0;
    for (int i = 0; i < unit; ++i) {
      const float value = grid.Value(tried[i]);
      const float rest = wanted[i] - value;
      error += costs[i] * rest * rest;
      const std::span<const float> to = feedback.InBatch(position + i).subspan(in_batch, unit);
      for (int j = i + 1; j < unit; ++j) wanted[j] += (weights[i] - value) * to[j];
    }
    if (!(error < best)) break;
    best = error;
    std::copy_n(tried.begin(), unit, levels.begin());
  }
}

}  // namespace

void RowBatch::Errors(int64_t group, std::vector<float>* errors) const {
  errors->resize(weights.size());
  for (int64_t row = 0; row < rows(); ++row) {
    coded[row].Errors(Weights(row), group, std::span(*errors).subspan(row * cols, cols));
  }
}

absl::Status RunFeedback(const Feedback& feedback,
                         const FormatLevels& levels,
                         const Encoder* chooser,
                         RowBatch* batch,
                         std::span<double> output_errors) {
  const int64_t k = batch->cols;
  const int64_t rows = batch->rows();
  CHECK_EQ(static_cast<int64_t>(output_errors.size()), rows);
  std::fill(output_errors.begin(), output_errors.end(), 0.0);
  const int64_t group = levels.format().GroupSize(k);
  const int64_t unit = levels.traits() != nullptr ? levels.traits()->block : group;
  CHECK(chooser == nullptr || Feedback::kColumnBatch % unit == 0) << unit;
  const LatticePoints* const points = levels.points();
  AlignedBuffer<float> errors(rows * k);  // by position
  PackedActivations packed;
  Targets targets;
  targets.values.Resize(rows * Feedback::kColumnBatch);
  for (int64_t begin = 0; begin < k; begin += Feedback::kColumnBatch) {
    targets.begin = begin;
    targets.width = std::min(Feedback::kColumnBatch, k - begin);
    targets.values.Fill(0.0f);
    if (begin > 0) {
      PackActivations(Path::kF32, errors.data(), k, rows, begin, &packed);
      Linear(packed,
             feedback.AheadOf(begin / Feedback::kColumnBatch),
             targets.values.data(),
             Feedback::kColumnBatch);
    }
    for (int64_t row = 0; row < rows; ++row) {
      const std::span<const float> weights = batch->Weights(row);
      for (int64_t p = 0; p < targets.width; ++p) {
        targets.Row(row)[p] += weights[feedback.order()[begin + p]];
      }
    }
    const int64_t step = chooser != nullptr ? unit : targets.width;
    for (int64_t first = begin; first < begin + targets.width; first += step) {
      const int64_t end = std::min(first + step, begin + targets.width);
      if (chooser != nullptr) {
        BB_RETURN_IF_ERROR(ChooseGrids(*chooser,
                                       levels,
                                       feedback.costs().subspan(first, end - first),
                                       first,
                                       &targets,
                                       batch));
      }
      for (int64_t row = 0; row < rows; ++row) {
        const std::span<const float> weights = batch->Weights(row);
        CodedRow& coded = batch->coded[row];
        float* const target = targets.Row(row);
        for (int64_t position = first; position < end; ++position) {
          const int64_t input = feedback.order()[position];
          const LevelGrid& grid = coded.grids[input / group];
          const float wanted = target[position - begin];
          if (points == nullptr) {
            const int level = coded.Keeps(input) ? levels.Nearest(grid, wanted) : 0;
            coded.levels[input] = static_cast<int16_t>(level);
          } else if (position % points->unit() == 0) {
            const int unit_size = points->unit();
            ChooseUnit(feedback,
                       *points,
                       grid,
                       weights.subspan(input, unit_size),
                       {target + position - begin, static_cast<size_t>(unit_size)},
                       position,
                       std::span(coded.levels).subspan(input, unit_size));
          }
          const int level = coded.levels[input];
          const float error = weights[input] - grid.Value(level);
          errors[row * k + position] = error;
          const double t = static_cast<double>(wanted) - grid.Value(level);
          output_errors[row] += feedback.costs()[position] * t * t;
          // From the last multiple of 16 on: coefficients are 0 up to the position itself.
          const int64_t from = (position - begin) / 16 * 16;
          Eigen::Map<Eigen::ArrayXf>(target + from, Feedback::kColumnBatch - from) +=
              error * Eigen::Map<const Eigen::ArrayXf>(feedback.InBatch(position).data() + from,
                                                       Feedback::kColumnBatch - from);
        }
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
