#ifndef BITBUDGET_RUNTIME_QUANTIZE_GRID_FIT_H_
#define BITBUDGET_RUNTIME_QUANTIZE_GRID_FIT_H_

#include <span>

#include "runtime/quantize/level_table.h"

namespace bitbudget {

// Squared errors of groups of weights on grids, and the least-squares grids for the codes that a
// grid chooses: the inner loops of every search for scales. All sums are weighted by `importance`
// (one per weight; empty: all 1), run in float over fixed lanes, and work with residuals, which
// keeps them accurate where the error is a millionth of the energy.

// The nearest levels q of all weights w on the grid scale * q, through d = w - scale * q.
struct ScaleFit {
  float error;   // sum d^2
  float cross;   // sum q d
  float energy;  // sum q^2

  // With these q fixed, scale + cross / energy has the least squared error, error - cross^2 /
  // energy.
  bool HasBetterScale() const { return energy > 0.0f; }
  float ScaleStep() const { return cross / energy; }
  float BestError() const { return error - cross * cross / energy; }
};

// Levels are the integers from `low` to `high`. REQUIRES: a finite scale that is not 0.
struct StepGrid {
  float scale;
  float low;
  float high;
};
ScaleFit FitSteps(std::span<const float> weights,
                  std::span<const float> importance,
                  const StepGrid& grid);

// Grids of integer levels from `low` to `low` + `levels`.
struct StepGrids {
  std::span<const float> scales;
  std::span<const float> lows;
  float levels;
};
// For every grid, with the levels that it chooses fixed, the least-squares scale and the error with
// it (infinity and no scale where all levels are 0). Many grids take much less time together than
// by FitSteps; sums run in the order of the weights. REQUIRES: finite scales that are not 0, and
// results as long as the grids.
void RankSteps(std::span<const float> weights,
               std::span<const float> importance,
               const StepGrids& grids,
               std::span<float> best_scales,
               std::span<float> errors);

// The same as FitSteps for the levels of a table.
ScaleFit FitLevels(std::span<const float> weights,
                   std::span<const float> importance,
                   float scale,
                   const LevelTable& table);

// The nearest codes q in [0, max_code] of all weights on the grid scale * q - minimum, through
// d = w - (scale * q - minimum).
struct AffineFit {
  float error;     // sum d^2
  float cross;     // sum q d
  float residual;  // sum d
  float energy;    // sum q^2
  float sum;       // sum q
  float total;     // sum 1

  // Moving scale and minimum by (a, b) with these q fixed changes the error by
  //   energy a^2 - 2 sum a b + total b^2 - 2 cross a + 2 residual b.
  // The best such move, of the minimum alone where all codes are equal. False if there is none.
  bool BestMove(float* scale_step, float* minimum_step) const;
  float ErrorAfter(float scale_step, float minimum_step) const;
};

// REQUIRES: a finite scale that is not 0.
AffineFit FitAffine(std::span<const float> weights,
                    std::span<const float> importance,
                    float scale,
                    float minimum,
                    float max_code);

namespace internal {

// Whether all bodies that this machine can run give the bits of the portable ones, their reference:
// for tests.
bool FitsAgree(std::span<const float> weights, std::span<const float> importance, float scale);

}  // namespace internal
}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_GRID_FIT_H_
