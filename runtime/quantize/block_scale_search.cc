#include "runtime/quantize/block_scale_search.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "runtime/quantize/grid_fit.h"
#include "runtime/quantize/group_scale_search.h"
#include "runtime/quantize/integer_grid.h"

namespace bitbudget {
namespace {

ScaleFit Fit(const WeightedBlock& block, const BlockLevels& levels, float scale) {
  return levels.table != nullptr
             ? FitLevels(block.weights, block.importance, scale, *levels.table)
             : FitSteps(block.weights, block.importance, {scale, levels.low, levels.high});
}

// The scales of `tries`, each moved to the best one for the levels that it chooses, and the errors
// then; infinity where all levels are 0.
void Rank(const WeightedBlock& block,
          const BlockLevels& levels,
          std::span<const float> tries,
          std::span<float> scales,
          std::span<float> errors) {
  if (levels.table == nullptr) {
    const std::vector<float> lows(tries.size(), levels.low);
    const StepGrids grids = {tries, lows, levels.high - levels.low};
    return RankSteps(block.weights, block.importance, grids, scales, errors);
  }
  for (size_t i = 0; i < tries.size(); ++i) {
    const ScaleFit fit = Fit(block, levels, tries[i]);
    errors[i] = fit.HasBetterScale() ? fit.BestError() : kInfiniteError;
    scales[i] = fit.HasBetterScale() ? tries[i] + fit.ScaleStep() : 0.0f;
  }
}

// One f16 scale.
void SearchOneScale(const WeightedBlock& block, BlockFields* fields) {
  const BlockLevels levels(block.traits);
  float largest = 0.0f;
  for (const float weight : block.weights) largest = std::max(largest, std::abs(weight));
  const float widest = largest / levels.end();
  if (!(std::abs(1.0f / widest) < kInfiniteError)) return;
  std::vector<float> tries;
  for (const float ratio : ScaleRatios(block.traits.codes)) {
    tries.push_back(widest * ratio);
    if (!levels.symmetric()) tries.push_back(-widest * ratio);
  }
  std::vector<float> scales(tries.size());
  std::vector<float> errors(tries.size());
  Rank(block, levels, tries, scales, errors);
  float best_error = kInfiniteError;
  for (int finalist = 0; finalist < kFinalists; ++finalist) {
    const auto best = std::min_element(errors.begin(), errors.end());
    if (!(*best < kInfiniteError)) return;
    *best = kInfiniteError;
    float scale = scales[best - errors.begin()];
    for (int round = 0; round <= kRefineRounds; ++round) {
      scale = RoundToHalf(scale);
      if (scale == 0.0f || !std::isfinite(scale)) break;
      const ScaleFit fit = Fit(block, levels, scale);
      if (fit.error < best_error) {
        best_error = fit.error;
        fields->d = scale;
      }
      if (!fit.HasBetterScale()) break;
      scale += fit.ScaleStep();
    }
  }
}

}  // namespace

void SearchScales(const WeightedBlock& block, BlockFields* fields) {
  block.traits.groups() == 1 ? SearchOneScale(block, fields) : SearchGroupScales(block, fields);
}

}  // namespace bitbudget
