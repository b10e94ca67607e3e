#include "runtime/quantize/row_refiner.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "runtime/base/aligned_buffer.h"
#include "runtime/kernels/linear.h"
#include "runtime/quantize/integer_grid.h"
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

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic>;

// What a parameter of a row (a scale or a minimum) multiplies: the weights of its unit change by
// basis * (change of the parameter).
struct Parameter {
  int64_t unit;
  bool minimum;  // of a block, else the scale
};

}  // namespace

RowRefiner::RowRefiner(const DampedGram& gram, const Feedback& feedback, const FormatLevels& levels)
    : gram_(gram),
      feedback_(feedback),
      levels_(levels),
      group_(levels.format().GroupSize(gram.gram.size)),
      unit_(levels.traits() != nullptr ? levels.traits()->block : group_) {
  const int64_t k = gram.gram.size;
  std::vector<float> slice;
  for (int64_t begin = 0; begin < k; begin += unit_) {
    const int64_t width = std::min(unit_, k - begin);
    slice.resize(k * width);
    for (int64_t i = 0; i < k; ++i) {
      std::copy_n(gram.Row(i).data() + begin, width, slice.data() + i * width);
    }
    slices_.push_back(PackWeightsF32(ViewOf(slice, k, width)));
  }
}

void RowRefiner::Gradients(const std::vector<float>& errors,
                           int64_t rows,
                           std::vector<float>* out) const {
  const int64_t k = gram_.gram.size;
  out->assign(rows * k, 0.0f);
  AlignedBuffer<float> part(rows * k);
  PackedActivations packed;
  for (size_t s = 0; s < slices_.size(); ++s) {
    const WeightPanels& slice = slices_[s];
    PackActivations(
        Path::kF32, errors.data() + static_cast<int64_t>(s) * unit_, k, rows, slice.k, &packed);
    Linear(packed, slice, part.data(), k);
    Eigen::Map<Eigen::ArrayXf>(out->data(), rows * k) +=
        Eigen::Map<const Eigen::ArrayXf>(part.data(), rows * k);
  }
}

void RowRefiner::MoveLevels(RowBatch* batch) const {
  const int64_t k = batch->cols;
  std::vector<float> errors;
  batch->Errors(group_, &errors);
  std::vector<float> gradients;
  Gradients(errors, batch->rows(), &gradients);
  std::vector<bool> moving(batch->rows(), true);
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    std::vector<bool> moved(batch->rows(), false);
    for (int64_t begin = 0; begin < k; begin += kInputsAtOnce) {
      const int64_t end = std::min(k, begin + kInputsAtOnce);
      for (int64_t row = 0; row < batch->rows(); ++row) {
        if (!moving[row]) continue;
        float* const gradient = gradients.data() + row * k;
        if (MoveLevels(begin, end, gradient, &batch->coded[row])) moved[row] = true;
      }
    }
    moving = std::move(moved);
  }
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

void RowRefiner::FitScales(RowBatch* batch) const {
  const int64_t k = batch->cols;
  const int64_t rows = batch->rows();
  const BlockTraits* traits = levels_.traits();
  if (levels_.format().kind == FormatKind::kMXFP4) return;  // powers of two
  std::vector<Parameter> parameters;
  for (size_t unit = 0; unit < slices_.size(); ++unit) {
    parameters.push_back({static_cast<int64_t>(unit), false});
    if (traits != nullptr && traits->minimum)
      parameters.push_back({static_cast<int64_t>(unit), true});
  }
  const int64_t count = static_cast<int64_t>(parameters.size());
  std::vector<float> errors;
  batch->Errors(group_, &errors);
  std::vector<double> before(rows);
  feedback_.OutputErrors(errors, before);
  std::vector<float> gradients;
  Gradients(errors, rows, &gradients);

  const auto unit_begin = [&](int64_t p) { return parameters[p].unit * unit_; };
  const auto unit_end = [&](int64_t p) { return std::min(k, unit_begin(p) + unit_); };
  const auto basis = [&](int64_t row, int64_t p, int64_t i) -> float {
    const CodedRow& coded = batch->coded[row];
    if (traits == nullptr) return coded.levels[i];
    const BlockFields& fields = coded.blocks[parameters[p].unit];
    const int64_t g = i % traits->block / traits->group;
    return parameters[p].minimum ? static_cast<float>(-fields.minimums[g])
                                 : static_cast<float>(coded.levels[i] * fields.scales[g]);
  };
  // The normal equations: a[row](p, q) = basis_p H basis_q.
  std::vector<Matrix> a(rows, Matrix::Zero(count, count));
  std::vector<Eigen::VectorXd> b(rows, Eigen::VectorXd::Zero(count));
  std::vector<float> columns(rows * unit_);
  AlignedBuffer<float> products(rows * k);
  PackedActivations packed;
  for (int64_t p = 0; p < count; ++p) {
    const int64_t begin = unit_begin(p);
    const int64_t width = unit_end(p) - begin;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t i = 0; i < width; ++i) columns[row * width + i] = basis(row, p, begin + i);
    }
    PackActivations(Path::kF32, columns.data(), width, rows, width, &packed);
    Linear(packed, slices_[parameters[p].unit], products.data(), k);
    for (int64_t row = 0; row < rows; ++row) {
      const float* const product = products.data() + row * k;
      for (int64_t q = p; q < count; ++q) {
        double sum = 0;
        for (int64_t i = unit_begin(q); i < unit_end(q); ++i) {
          sum += static_cast<double>(basis(row, q, i)) * product[i];
        }
        a[row](q, p) = sum;
      }
      double sum = 0;
      for (int64_t i = begin; i < begin + width; ++i) {
        sum += static_cast<double>(columns[row * width + i - begin]) * gradients[row * k + i];
      }
      b[row](p) = sum;
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
        const float to = RoundToHalf(static_cast<float>(from + step(p)));
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
  batch->Errors(group_, &errors);
  std::vector<double> after(rows);
  feedback_.OutputErrors(errors, after);
  for (int64_t row = 0; row < rows; ++row) {
    if (!(after[row] < before[row])) batch->coded[row] = std::move(old[row]);
  }
}

void RowRefiner::Refine(RowBatch* batch) const {
  for (int round = 0; round < kRounds; ++round) {
    MoveLevels(batch);
    FitScales(batch);
  }
  MoveLevels(batch);
}

}  // namespace bitbudget
