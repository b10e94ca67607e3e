#include "runtime/quantize/row_refiner.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <array>
#include <cmath>

#include "runtime/base/aligned_buffer.h"
#include "runtime/kernels/linear.h"
#include "runtime/kernels/table.h"
#include "runtime/quantize/integer_grid.h"
#include "runtime/quantize/lattice_points.h"
#include "runtime/quantize/lattice_search.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {
namespace {

// Turns of levels and scales. docs/encoders.md has what each brings.
constexpr int kRounds = 3;

// Times that every input has its turn, unless nothing moves any more before.
constexpr int kSweeps = 8;

// Inputs whose levels are moved for all rows of the batch before the next ones': the rows of H that
// this takes stay in the cache.
constexpr int64_t kInputsAtOnce = 64;

// Tries of a unit of a codebook type, each with what the moves before mean to the other inputs.
constexpr int kUnitTries = 3;

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic>;

// What a parameter of a row (a scale or a minimum) multiplies: the weights of its unit change by
// basis * (change of the parameter).
struct Parameter {
  int64_t unit;
  bool minimum;  // of a block, else the scale
};

// x[rows][width] times the rows [begin, begin + width) of a symmetric matrix, for the outputs from
// `begin` on: y[rows][ldy], of which outputs from the last multiple of kPanelWidth on are written.
void MultiplyFrom(const WeightPanels& panels,
                  const float* x,
                  int64_t rows,
                  int64_t begin,
                  int64_t width,
                  PackedActivations* packed,
                  float* y,
                  int64_t ldy) {
  PackActivations(Path::kF32, x, width, rows, width, packed);
  const int64_t stride = panels.padded_k * kPanelWidth;
  const int64_t first = begin / kPanelWidth;
  for (int64_t row = 0; row < rows; row += kTileRows) {
    Kernels().tile_f32(packed->f32.data() + row * packed->padded_k,
                       panels.f32.data() + first * stride + begin * kPanelWidth,
                       stride,
                       width,
                       static_cast<int>(std::min<int64_t>(kTileRows, rows - row)),
                       panels.panels - first,
                       /*accumulate=*/false,
                       y + row * ldy + first * kPanelWidth,
                       ldy);
  }
}

double Dot(const float* a, const float* b, int64_t size) {
  double sum = 0;
  for (int64_t i = 0; i < size; ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

}  // namespace

RowRefiner::RowRefiner(const GramFactors& factors, const FormatLevels& levels)
    : gram_(factors.damped),
      panels_(factors.panels),
      levels_(levels),
      group_(levels.format().GroupSize(factors.damped.gram.size)),
      unit_(levels.traits() != nullptr ? levels.traits()->block : group_) {}

void RowRefiner::ComputeErrors(State* state) const { state->batch->Errors(group_, &state->errors); }

void RowRefiner::ComputeGradients(State* state) const {
  const int64_t k = gram_.gram.size;
  const int64_t rows = state->batch->rows();
  state->gradients.resize(rows * k);
  PackedActivations packed;
  PackActivations(Path::kF32, state->errors.data(), k, rows, k, &packed);
  Linear(packed, panels_, state->gradients.data(), k);
}

void RowRefiner::MoveLevels(State* state) const {
  RowBatch* const batch = state->batch;
  const int64_t k = batch->cols;
  std::vector<bool> moving(batch->rows(), true);
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    std::vector<bool> moved(batch->rows(), false);
    for (int64_t begin = 0; begin < k; begin += kInputsAtOnce) {
      const int64_t end = std::min(k, begin + kInputsAtOnce);
      for (int64_t row = 0; row < batch->rows(); ++row) {
        if (!moving[row]) continue;
        float* const gradient = state->gradients.data() + row * k;
        CodedRow* const coded = &batch->coded[row];
        if (levels_.points() == nullptr ? MoveLevels(begin, end, gradient, coded)
                                        : MoveUnits(begin, end, gradient, coded)) {
          moved[row] = true;
        }
      }
    }
    moving = std::move(moved);
  }
  ComputeErrors(state);
}

bool RowRefiner::MoveLevels(int64_t begin, int64_t end, float* gradients, CodedRow* coded) const {
  const int64_t k = gram_.gram.size;
  bool moved = false;
  for (int64_t i = begin; i < end; ++i) {
    if (!coded->Keeps(i)) continue;
    const LevelGrid& grid = coded->grids[i / group_];
    // The error as a function of this value alone is a parabola: its nearest level is the best.
    const float curvature = gram_.Diagonal(i);
    const float value = grid.Value(coded->levels[i]);
    const int level = levels_.Nearest(grid, value + gradients[i] / curvature);
    if (level == coded->levels[i]) continue;
    const float move = grid.Value(level) - value;
    if (!(move * (move * curvature - 2.0f * gradients[i]) < 0.0f)) continue;
    coded->levels[i] = static_cast<int16_t>(level);
    Eigen::Map<Eigen::ArrayXf>(gradients, k) -=
        move * Eigen::Map<const Eigen::ArrayXf>(gram_.Row(i).data(), k);
    moved = true;
  }
  return moved;
}

bool RowRefiner::MoveUnits(int64_t begin, int64_t end, float* gradients, CodedRow* coded) const {
  const int64_t k = gram_.gram.size;
  const LatticePoints& points = *levels_.points();
  const int64_t unit = points.unit();
  bool moved = false;
  std::array<float, kMaxBlock> curvatures;
  std::array<float, kMaxBlock> pulls;  // H d, less what the moves of the other inputs take from it
  std::array<float, kMaxBlock> targets;
  std::array<float, kMaxBlock> moves;
  std::array<float, kMaxBlock> best_moves;
  std::array<int8_t, kMaxBlock> levels;
  std::array<int8_t, kMaxBlock> best_levels;
  for (int64_t from = begin; from < end; from += unit) {
    const LevelGrid& grid = coded->grids[from / group_];
    if (grid.scale == 0.0f) continue;
    for (int64_t i = 0; i < unit; ++i) curvatures[i] = gram_.Diagonal(from + i);
    std::copy_n(gradients + from, unit, pulls.begin());
    float best = 0;
    for (int round = 0; round < kUnitTries; ++round) {
      for (int64_t i = 0; i < unit; ++i) {
        targets[i] =
            static_cast<float>(coded->levels[from + i]) + pulls[i] / curvatures[i] * grid.inverse;
      }
      points.Nearest(std::span(targets).first(unit),
                     std::span(curvatures).first(unit),
                     std::span(levels).first(unit));
      bool moves_any = false;
      for (int64_t i = 0; i < unit; ++i) {
        moves[i] = grid.Value(levels[i]) - grid.Value(coded->levels[from + i]);
        moves_any |= levels[i] != coded->levels[from + i];
      }
      if (!moves_any) break;
      float change = 0;
      for (int64_t i = 0; i < unit; ++i) {
        const std::span<const float> row = gram_.Row(from + i).subspan(from, unit);
        float taken = 0;
        for (int64_t j = 0; j < unit; ++j) taken += row[j] * moves[j];
        change += moves[i] * (taken - 2.0f * gradients[from + i]);
        pulls[i] = gradients[from + i] - (taken - curvatures[i] * moves[i]);
      }
      if (!(change < best)) continue;
      best = change;
      best_levels = levels;
      best_moves = moves;
    }
    if (!(best < 0.0f)) continue;
    for (int64_t i = 0; i < unit; ++i) {
      if (best_moves[i] == 0.0f) continue;
      coded->levels[from + i] = best_levels[i];
      Eigen::Map<Eigen::ArrayXf>(gradients, k) -=
          best_moves[i] * Eigen::Map<const Eigen::ArrayXf>(gram_.Row(from + i).data(), k);
    }
    moved = true;
  }
  return moved;
}

void RowRefiner::FitScales(State* state) const {
  RowBatch* const batch = state->batch;
  const int64_t k = batch->cols;
  const int64_t rows = batch->rows();
  const BlockTraits* traits = levels_.traits();
  if (levels_.format().kind == FormatKind::kMXFP4) return;  // powers of two
  std::vector<Parameter> parameters;
  for (int64_t unit = 0; unit * unit_ < k; ++unit) {
    parameters.push_back({unit, false});
    if (traits != nullptr && traits->minimum) parameters.push_back({unit, true});
  }
  const int64_t count = static_cast<int64_t>(parameters.size());
  // How a row's weights change with the scale of their unit, and with its minimum.
  std::vector<float> by_scale(rows * k);
  std::vector<float> by_minimum(traits != nullptr && traits->minimum ? rows * k : 0);
  for (int64_t row = 0; row < rows; ++row) {
    const CodedRow& coded = batch->coded[row];
    for (int64_t i = 0; i < k; ++i) {
      const int level = coded.levels[i];
      if (traits == nullptr) {
        by_scale[row * k + i] = static_cast<float>(level);
        continue;
      }
      const BlockFields& fields = coded.blocks[i / traits->block];
      const int64_t g = i % traits->block / traits->group;
      by_scale[row * k + i] = static_cast<float>(level * fields.scales[g]);
      if (traits->minimum) by_minimum[row * k + i] = static_cast<float>(-fields.minimums[g]);
    }
  }
  const auto basis = [&](int64_t row, int64_t p) {
    return (parameters[p].minimum ? by_minimum : by_scale).data() + row * k +
           parameters[p].unit * unit_;
  };
  const auto width = [&](int64_t p) { return std::min(unit_, k - parameters[p].unit * unit_); };

  // The normal equations: a[row](p, q) = basis_p H basis_q.
  std::vector<Matrix> a(rows, Matrix::Zero(count, count));
  std::vector<Eigen::VectorXd> b(rows, Eigen::VectorXd::Zero(count));
  std::vector<float> columns(rows * unit_);
  const int64_t stride = panels_.panels * kPanelWidth;
  AlignedBuffer<float> products(rows * stride);
  PackedActivations packed;
  for (int64_t p = 0; p < count; ++p) {
    const int64_t begin = parameters[p].unit * unit_;
    for (int64_t row = 0; row < rows; ++row) {
      std::copy_n(basis(row, p), width(p), columns.data() + row * width(p));
    }
    MultiplyFrom(panels_, columns.data(), rows, begin, width(p), &packed, products.data(), stride);
    for (int64_t row = 0; row < rows; ++row) {
      const float* const product = products.data() + row * stride;
      for (int64_t q = p; q < count; ++q) {
        using Values = Eigen::Map<const Eigen::VectorXf>;
        a[row](q, p) = Values(basis(row, q), width(q))
                           .dot(Values(product + parameters[q].unit * unit_, width(q)));
      }
      b[row](p) = Dot(basis(row, p), state->gradients.data() + row * k + begin, width(p));
    }
  }

  std::vector<CodedRow> old = batch->coded;
  for (int64_t row = 0; row < rows; ++row) {
    CodedRow& coded = batch->coded[row];
    for (int64_t p = 0; p < count; ++p) {
      if (!(a[row](p, p) > 0)) {  // only levels of 0
        a[row].row(p).setZero();
        a[row].col(p).setZero();
        a[row](p, p) = 1;
        b[row](p) = 0;
      }
      a[row](p, p) *= 1 + 1e-6;
    }
    const Eigen::LLT<Matrix> llt(a[row]);
    if (llt.info() != Eigen::Success) continue;
    const Eigen::VectorXd step = llt.solve(b[row]);
    for (int64_t p = 0; p < count; ++p) {
      const auto moved = [&](float from) {
        const float wanted = static_cast<float>(from + step(p));
        const float to =
            levels_.points() != nullptr ? StoredLatticeScale(*traits, wanted) : RoundToHalf(wanted);
        return std::isfinite(to) && to != 0.0f ? to : from;
      };
      if (traits != nullptr) {
        BlockFields& fields = coded.blocks[parameters[p].unit];
        float& field = parameters[p].minimum ? fields.dmin : fields.d;
        field = moved(field);
        coded.SetBlockGrids(levels_, parameters[p].unit);
      } else {
        LevelGrid& grid = coded.grids[parameters[p].unit];
        grid.SetScale(moved(grid.scale));
      }
    }
  }
  const std::vector<float> old_errors = state->errors;
  const std::vector<float> old_gradients = state->gradients;
  ComputeErrors(state);
  ComputeGradients(state);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t at = row * k;
    const double before = Dot(&old_errors[at], &old_gradients[at], k);
    const double after = Dot(&state->errors[at], &state->gradients[at], k);
    if (after < before) continue;
    batch->coded[row] = std::move(old[row]);
    std::copy_n(&old_errors[at], k, &state->errors[at]);
    std::copy_n(&old_gradients[at], k, &state->gradients[at]);
  }
}

void RowRefiner::Refine(RowBatch* batch) const {
  State state{batch, {}, {}};
  ComputeErrors(&state);
  ComputeGradients(&state);
  for (int round = 0; round < kRounds; ++round) {
    MoveLevels(&state);
    FitScales(&state);
  }
  MoveLevels(&state);
}

}  // namespace bitbudget
