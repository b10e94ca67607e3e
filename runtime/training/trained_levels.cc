#include "runtime/training/trained_levels.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "runtime/base/parallel.h"

namespace bitbudget {
namespace {

using Values = Eigen::Map<const Eigen::ArrayXf>;

// (weight + minimum) / scale, the position of weights between the levels of a grid.
auto Positions(const Values& weights, const LevelGrid& grid) {
  return (weights + grid.minimum) * grid.inverse;
}

}  // namespace

TrainedLevels::TrainedLevels(const Matrix<float>& original,
                             const Encoding& start,
                             TrainedParts parts)
    : start_(start),
      levels_(start.format),
      parts_(parts),
      group_(start.format.GroupSize(start.cols)) {
  CHECK_EQ(original.rows(), start.rows);
  CHECK_EQ(original.cols(), start.cols);
  if (const BlockTraits* traits = levels_.traits();
      traits != nullptr && traits->levels != nullptr) {
    for (int code = 0; code < traits->codes; ++code) {
      const auto level = static_cast<float>(traits->Level(code));
      table_low_ = std::min(table_low_, level);
      table_high_ = std::max(table_high_, level);
    }
  }
  if (parts.weights) weights_.values.resize(original.size());
  weights_.unit = RootMeanSquare(original);
  for (int64_t row = 0; row < start.rows; ++row) {
    rows_.push_back(CodedRow::Read(start, levels_, row));
    const CodedRow& coded = rows_.back();
    if (parts.weights && levels_.points() != nullptr) IntoPoints(original, row);
    for (int64_t i = 0; parts.weights && levels_.points() == nullptr && i < start.cols; ++i) {
      const float weight = original(row, i);
      weights_.values[row * start.cols + i] =
          coded.Keeps(i) ? IntoCell(weight, coded.grids[i / group_], coded.levels[i]) : weight;
    }
  }
  if (parts.scales && start.format.IsInteger() && start.rows > 0) {
    logs_.kind = ParameterKind::kLogScales;
    logs_.values.assign(start.rows * groups(), 0.0f);
  }
}

float TrainedLevels::IntoCell(float weight, const LevelGrid& grid, int level) const {
  if (levels_.Nearest(grid, weight) == level) return weight;
  const float middle = grid.Value(level);
  // Levels of a table have no width of their own.
  if (table_low_ < table_high_) return middle;
  const float step =
      levels_.traits() == nullptr ? 1.0f : static_cast<float>(levels_.traits()->step);
  constexpr float kInside = 0.49f;
  const float reach = kInside * step * std::abs(grid.scale);
  const float moved = std::clamp(weight, middle - reach, middle + reach);
  return levels_.Nearest(grid, moved) == level ? moved : middle;
}

void TrainedLevels::NearestLevels(std::span<const float> weights,
                                  const LevelGrid& grid,
                                  std::span<int16_t> levels) const {
  if (levels_.points() == nullptr) {
    for (size_t i = 0; i < weights.size(); ++i) {
      levels[i] = static_cast<int16_t>(levels_.Nearest(grid, weights[i]));
    }
    return;
  }
  const LatticePoints& points = *levels_.points();
  const size_t unit = static_cast<size_t>(points.unit());
  const std::vector<float> alike(unit, 1.0f);
  std::vector<float> targets(unit);
  std::vector<int8_t> found(unit);
  for (size_t from = 0; from < weights.size(); from += unit) {
    for (size_t i = 0; i < unit; ++i) targets[i] = weights[from + i] * grid.inverse;
    points.Nearest(targets, alike, found);
    std::copy(found.begin(), found.end(), levels.begin() + static_cast<int64_t>(from));
  }
}

void TrainedLevels::IntoPoints(const Matrix<float>& original, int64_t row) {
  const CodedRow& coded = rows_[row];
  const int64_t unit = levels_.points()->unit();
  std::vector<float> latent(unit);
  std::vector<int16_t> found(unit);
  for (int64_t from = 0; from < start_.cols; from += unit) {
    const LevelGrid& grid = coded.grids[from / group_];
    const auto levels = std::span(coded.levels).subspan(from, unit);
    // From the weights towards the values of the codes, until these are the nearest.
    for (float part : {1.0f, 0.75f, 0.5f, 0.25f, 0.0f}) {
      for (int64_t i = 0; i < unit; ++i) {
        const float value = grid.Value(levels[i]);
        latent[i] = value + part * (original(row, from + i) - value);
      }
      NearestLevels(latent, grid, found);
      if (std::ranges::equal(found, levels)) break;
    }
    std::copy(latent.begin(), latent.end(), &weights_.values[row * start_.cols + from]);
  }
}

std::vector<ParameterArray*> TrainedLevels::parameters() {
  std::vector<ParameterArray*> arrays;
  if (parts_.weights) arrays.push_back(&weights_);
  if (!logs_.values.empty()) arrays.push_back(&logs_);
  return arrays;
}

TrainedLevels::Group TrainedLevels::GroupOf(int64_t row, int64_t g) const {
  Group group{g * group_, std::min(group_, start_.cols - g * group_), rows_[row].grids[g]};
  if (!logs_.values.empty()) {
    group.grid.SetScale(group.grid.scale * std::exp(logs_.values[row * groups() + g]));
  }
  return group;
}

void TrainedLevels::Decode(int threads, Matrix<float>* image) const {
  image->resize(start_.rows, start_.cols);
  const bool table =
      levels_.traits() != nullptr && (levels_.traits()->levels != nullptr ||
                                      levels_.traits()->step != 1 || levels_.points() != nullptr);
  ParallelFor(ThreadsFor(threads, start_.rows * start_.cols), start_.rows, [&](int64_t row, int) {
    const CodedRow& coded = rows_[row];
    for (int64_t g = 0; g < groups(); ++g) {
      const Group group = GroupOf(row, g);
      const LevelGrid& grid = group.grid;
      const int64_t first = row * start_.cols + group.begin;
      // Weights are there only where they are trained.
      const float* const from = parts_.weights ? weights_.values.data() + first : nullptr;
      float* const to = image->data() + first;
      if (!parts_.weights) {
        for (int64_t i = 0; i < group.count; ++i) {
          to[i] = grid.Value(coded.levels[group.begin + i]);
        }
      } else if (table) {
        std::vector<int16_t> levels(group.count);
        NearestLevels({from, levels.size()}, grid, levels);
        for (int64_t i = 0; i < group.count; ++i) to[i] = grid.Value(levels[i]);
      } else {
        constexpr float kShift = 0x1.8p23f;  // RoundEven
        const Values weights(from, group.count);
        Eigen::Map<Eigen::ArrayXf> out(to, group.count);
        out = Positions(weights, grid).max(grid.low).min(grid.high);
        out = (out + kShift) - kShift;
        out = out * grid.scale - grid.minimum;
      }
      if (coded.kept.empty()) continue;
      for (int64_t i = 0; i < group.count; ++i) {
        if (!coded.Keeps(group.begin + i)) to[i] = 0.0f;
      }
    }
  });
}

void TrainedLevels::Backward(const Matrix<float>& d_image, int threads) {
  if (parts_.weights) weights_.gradient.resize(weights_.values.size());
  logs_.gradient.resize(logs_.values.size());
  ParallelFor(ThreadsFor(threads, start_.rows * start_.cols), start_.rows, [&](int64_t row, int) {
    const CodedRow& coded = rows_[row];
    for (int64_t g = 0; g < groups(); ++g) {
      const Group group = GroupOf(row, g);
      const LevelGrid& grid = group.grid;
      const int64_t first = row * start_.cols + group.begin;
      double d_log = 0;
      for (int64_t i = 0; i < group.count; ++i) {
        const int64_t at = first + i;
        const float d = coded.Keeps(group.begin + i) ? d_image.data()[at] : 0.0f;
        if (!parts_.weights) {
          d_log += static_cast<double>(d) * static_cast<double>(coded.levels[group.begin + i]);
          continue;
        }
        // Straight through inside the grid; a weight beyond its ends has no effect.
        const float x = (weights_.values[at] + grid.minimum) * grid.inverse;
        const bool inside = Reaches(grid, x);
        weights_.gradient[at] = inside ? d : 0.0f;
        if (logs_.values.empty()) continue;
        const auto level = static_cast<float>(levels_.Nearest(grid, weights_.values[at]));
        d_log += static_cast<double>(d) * static_cast<double>(inside ? level - x : level);
      }
      if (!logs_.values.empty()) {
        logs_.gradient[row * groups() + g] =
            static_cast<float>(d_log * static_cast<double>(grid.scale));
      }
    }
  });
}

Encoding TrainedLevels::Encode(int threads) const {
  Encoding encoding = start_;
  std::vector<CodedRow> rows = rows_;
  ParallelFor(ThreadsFor(threads, start_.rows * start_.cols), start_.rows, [&](int64_t row, int) {
    CodedRow& coded = rows[row];
    for (int64_t g = 0; g < groups(); ++g) {
      const Group group = GroupOf(row, g);
      LevelGrid& grid = coded.grids[g];
      if (!logs_.values.empty()) {
        // A group whose scale f16 cannot hold keeps the start's.
        const float scale = RoundToHalf(group.grid.scale);
        if (scale != 0.0f && std::isfinite(scale)) grid.SetScale(scale);
      }
      if (!parts_.weights) continue;
      std::vector<int16_t> levels(group.count);
      NearestLevels(
          {&weights_.values[row * start_.cols + group.begin], levels.size()}, grid, levels);
      for (int64_t i = 0; i < group.count; ++i) {
        if (coded.Keeps(group.begin + i)) coded.levels[group.begin + i] = levels[i];
      }
    }
    if (!start_.format.IsSparse()) coded.Write(levels_, row, &encoding);
  });
  if (start_.format.IsSparse()) {
    std::fill(encoding.bytes.begin(), encoding.bytes.end(), uint8_t{0});
    WriteSparseRows(rows, start_, &encoding);
  }
  return encoding;
}

}  // namespace bitbudget
