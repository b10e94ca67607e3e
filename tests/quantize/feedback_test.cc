#include "runtime/quantize/feedback.h"

#include <gtest/gtest.h>

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <Eigen/LU>
#include <cmath>
#include <vector>

#include "runtime/quantize/clip_encoder.h"
#include "runtime/quantize/coded_rows.h"
#include "runtime/quantize/gptq_rows.h"
#include "runtime/quantize/row_refiner.h"
#include "runtime/tensor/tensor_view.h"
#include "tests/support/gram_inputs.h"
#include "tests/support/matrices.h"

namespace bitbudget {
namespace {

using Matrix = Eigen::MatrixXd;

Matrix ToMatrix(const Gram& gram) {
  Matrix h(gram.size, gram.size);
  for (int64_t i = 0; i < gram.size; ++i) {
    for (int64_t j = 0; j < gram.size; ++j) h(i, j) = gram.values[i * gram.size + j];
  }
  return h;
}

// The Cholesky factor U of the inverse of H, inputs in this order: H^-1 = U^T U.
Matrix InverseFactor(const Matrix& h, std::span<const int64_t> order) {
  const int64_t k = h.rows();
  Matrix permuted(k, k);
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = 0; j < k; ++j) permuted(i, j) = h(order[i], order[j]);
  }
  const Matrix inverse = permuted.inverse();
  return inverse.llt().matrixU();
}

// GPTQ as the paper's algorithm 1 has it, with a block of one column, in double: levels of a row
// with these grids, inputs in this order.
std::vector<int16_t> TextbookGptq(const Matrix& u,
                                  std::span<const int64_t> order,
                                  std::span<const float> weights,
                                  const CodedRow& coded,
                                  int64_t group,
                                  const FormatLevels& levels) {
  const int64_t k = u.rows();
  std::vector<double> w(k);
  for (int64_t i = 0; i < k; ++i) w[i] = weights[order[i]];
  std::vector<int16_t> result(k);
  for (int64_t i = 0; i < k; ++i) {
    const LevelGrid& grid = coded.grids[order[i] / group];
    const int level = levels.Nearest(grid, static_cast<float>(w[i]));
    result[order[i]] = static_cast<int16_t>(level);
    const double error = (w[i] - grid.Value(level)) / u(i, i);
    for (int64_t j = i; j < k; ++j) w[j] -= error * u(i, j);
  }
  return result;
}

RowBatch MakeBatch(int64_t rows,
                   int64_t k,
                   const Format& format,
                   const std::vector<float>& moments) {
  RowBatch batch;
  batch.cols = k;
  batch.weights = GaussianValues(rows * k, 0.05, 3);
  InputStats stats;
  stats.moments = moments;
  const Encoding start =
      *MakeImatrixEncoder()->Encode(ViewOf(batch.weights, rows, k), format, stats);
  for (int64_t row = 0; row < rows; ++row) {
    batch.coded.push_back(CodedRow::Read(start, FormatLevels(format), row));
  }
  return batch;
}

TEST(FeedbackTest, GivesTheCodesOfTheTextbook) {
  constexpr int64_t kRows = 6, kCols = 320;  // more than one batch of columns
  const DampedGram gram = Damp(CorrelatedGram(kCols, 700, 5));
  const Matrix h = ToMatrix(gram.gram);
  for (const char* name : {"int4z-g64", "int3-g32", "q4_0", "iq4_nl"}) {
    const Format format = *ParseFormat(name);
    const FormatLevels levels(format);
    const int64_t group = format.GroupSize(kCols);
    for (const bool by_energy : {false, true}) {
      RowBatch batch = MakeBatch(kRows, kCols, format, DiagonalOf(gram.gram));
      const RowBatch start = batch;
      const auto feedback =
          MakeFeedback(gram, by_energy ? ActivationOrder(gram) : NaturalOrder(kCols));
      ASSERT_NE(feedback, nullptr);
      std::vector<double> found(kRows);
      ASSERT_TRUE(RunFeedback(*feedback, levels, nullptr, &batch, found).ok());
      const Matrix u = InverseFactor(h, feedback->order());
      for (int64_t row = 0; row < kRows; ++row) {
        const std::vector<int16_t> expected =
            TextbookGptq(u, feedback->order(), batch.Weights(row), start.coded[row], group, levels);
        // A target within float rounding of the border of two levels would go either way; these
        // rows have none.
        EXPECT_EQ(batch.coded[row].levels, expected) << name << " " << by_energy << " " << row;
        std::vector<float> errors(kCols);
        batch.coded[row].Errors(batch.Weights(row), group, errors);
        const double error = GramError(errors, gram.gram);
        EXPECT_NEAR(found[row], error, 1e-4 * error) << name << " " << by_energy << " " << row;
      }
    }
  }
}

TEST(FeedbackTest, TermsAddUpToTheOutputError) {
  for (const int64_t k : {1, 40, 256, 600}) {
    const DampedGram gram = Damp(CorrelatedGram(k, 400, 9));
    const auto feedback = MakeFeedback(gram, NaturalOrder(k));
    ASSERT_NE(feedback, nullptr);
    const std::vector<float> errors = GaussianValues(7 * k, 0.01, 21);
    std::vector<double> found(7);
    feedback->OutputErrors(errors, found);
    for (int64_t row = 0; row < 7; ++row) {
      const double expected = GramError(std::span(errors).subspan(row * k, k), gram.gram);
      // A term is a sum of up to k float products, of relative rounding sqrt(k) 2^-24 for errors
      // that are not aligned.
      EXPECT_NEAR(found[row], expected, expected * 2e-5) << k << " " << row;
    }
  }
}

TEST(FeedbackTest, DampingIsOnePercentAndGrowsUntilThereIsAFactor) {
  const Gram gram = CorrelatedGram(64, 300, 2);
  double mean = 0;
  for (const float value : DiagonalOf(gram)) mean += value / 64;
  EXPECT_NEAR(Damp(gram).damping, 0.01 * mean, 1e-6 * mean);

  // Not positive semidefinite: eigenvalues down to -mean.
  Gram bad{2, {1, 2, 2, 1}};
  EXPECT_GT(Damp(bad).damping, 0.99);
  EXPECT_NE(MakeFeedback(Damp(bad), NaturalOrder(2)), nullptr);
  Gram zero{3, std::vector<float>(9)};
  EXPECT_EQ(Damp(zero).gram.values, std::vector<float>({1, 0, 0, 0, 1, 0, 0, 0, 1}));
}

TEST(RowRefinerTest, LowersErrorsUntilNoSingleCodeHelps) {
  constexpr int64_t kRows = 5, kCols = 192;
  const GramFactors factors(CorrelatedGram(kCols, 500, 13));
  const DampedGram& gram = factors.damped;
  for (const char* name : {"int4z-g64", "int2-g64", "int3z-g32", "q5_1", "iq4_nl", "mxfp4"}) {
    const Format format = *ParseFormat(name);
    const FormatLevels levels(format);
    const int64_t group = format.GroupSize(kCols);
    RowBatch batch = MakeBatch(kRows, kCols, format, DiagonalOf(gram.gram));
    std::vector<float> errors;
    batch.Errors(group, &errors);
    const std::vector<float> before = errors;
    RowRefiner(factors, levels).Refine(&batch);
    batch.Errors(group, &errors);
    double sum_before = 0, sum_after = 0;
    for (int64_t row = 0; row < kRows; ++row) {
      const auto of = [&](const std::vector<float>& all) {
        return std::span(all).subspan(row * kCols, kCols);
      };
      const double after = GramError(of(errors), gram.gram);
      sum_before += GramError(of(before), gram.gram);
      sum_after += after;
      std::vector<float> other(of(errors).begin(), of(errors).end());
      for (int64_t i = 0; i < kCols; ++i) {
        const LevelGrid& grid = batch.coded[row].grids[i / group];
        const float kept = other[i];
        const float gradient_step = [&] {
          double gradient = 0;
          for (int64_t j = 0; j < kCols; ++j) {
            gradient += static_cast<double>(gram.Row(i)[j]) * other[j];
          }
          return static_cast<float>(gradient / gram.Diagonal(i));
        }();
        const float value = batch.Weights(row)[i] - kept;
        const int best = levels.Nearest(grid, value + gradient_step);
        other[i] = batch.Weights(row)[i] - grid.Value(best);
        // Gradients are sums in float that every move of the row adds to.
        EXPECT_GE(GramError(other, gram.gram), after * (1 - 1e-4))
            << name << " " << row << " " << i;
        other[i] = kept;
      }
    }
    EXPECT_LT(sum_after, 0.8 * sum_before) << name;
  }
}

// Weights that lie on the grids, whose scales then are made 0.05 % too large: too little
// for another level, so that least squares alone can find the scales again.
TEST(RowRefinerTest, FindsTheScalesThatFitAllWeights) {
  constexpr int64_t kRows = 7, kCols = 288;
  const GramFactors factors(CorrelatedGram(kCols, 700, 3));
  for (const char* name : {"int4-g32", "int3z-g32", "q4_0", "q4_1"}) {
    const Format format = *ParseFormat(name);
    const FormatLevels levels(format);
    const int64_t group = format.GroupSize(kCols);
    RowBatch batch = MakeBatch(kRows, kCols, format, DiagonalOf(factors.damped.gram));
    std::vector<float> rest;
    batch.Errors(group, &rest);
    for (int64_t i = 0; i < kRows * kCols; ++i) batch.weights[i] -= rest[i];
    for (CodedRow& row : batch.coded) {
      if (levels.traits() == nullptr) {
        for (LevelGrid& grid : row.grids) grid.SetScale(1.0005f * grid.scale);
        continue;
      }
      for (size_t block = 0; block < row.blocks.size(); ++block) {
        row.blocks[block].d *= 1.0005f;
        row.SetBlockGrids(levels, static_cast<int64_t>(block));
      }
    }
    const auto errors_of = [&] {
      std::vector<float> errors;
      batch.Errors(group, &errors);
      std::vector<double> sums(kRows);
      factors.natural->OutputErrors(errors, sums);
      return sums;
    };
    const std::vector<double> before = errors_of();
    RowRefiner(factors, levels).Refine(&batch);
    const std::vector<double> after = errors_of();
    // A code that moves first, as a single step may well lower the error, stays in the way in a few
    // rows.
    int found = 0;
    for (int64_t row = 0; row < kRows; ++row) found += after[row] < 1e-3 * before[row];
    EXPECT_GE(found, 4) << name;
  }
}

}  // namespace
}  // namespace bitbudget
