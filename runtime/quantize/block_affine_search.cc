#include "runtime/quantize/block_affine_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "runtime/quantize/grid_fit.h"
#include "runtime/quantize/group_affine_search.h"
#include "runtime/quantize/integer_grid.h"

namespace bitbudget {
namespace {

// One f16 scale and one f16 minimum of either sign.
class SingleSearch {
 public:
  explicit SingleSearch(const WeightedBlock& block)
      : block_(block), max_code_(static_cast<float>(block.traits.codes - 1)) {}

  void Search(BlockFields* fields) {
    FindCandidates();
    float best_error = kInfiniteError;
    for (const Candidate& candidate : kept_) {
      float scale = candidate.scale;
      float minimum = candidate.minimum;
      for (int round = 0; round <= kRefineRounds; ++round) {
        scale = RoundToHalf(scale);
        minimum = RoundToHalf(minimum);
        if (scale == 0.0f || !std::isfinite(scale) || !std::isfinite(minimum)) break;
        const AffineFit fit = Fit(scale, minimum);
        if (fit.error < best_error) {
          best_error = fit.error;
          fields->d = scale;
          fields->dmin = minimum;
        }
        float scale_step = 0.0f;
        float minimum_step = 0.0f;
        if (!fit.BestMove(&scale_step, &minimum_step)) break;
        scale += scale_step;
        minimum += minimum_step;
      }
    }
  }

 private:
  struct Candidate {
    float error = kInfiniteError;
    float scale = 0.0f;
    float minimum = 0.0f;
  };

  AffineFit Fit(float scale, float minimum) const {
    return FitAffine(block_.weights, block_.importance, scale, minimum, max_code_);
  }

  // The error of codes that span [from, to], with the best grid for them.
  float TryRange(float from, float to) {
    if (!(from < to)) return kInfiniteError;
    const float scale = (to - from) / max_code_;
    const AffineFit fit = Fit(scale, -from);
    float scale_step = 0.0f;
    float minimum_step = 0.0f;
    if (!fit.BestMove(&scale_step, &minimum_step)) return kInfiniteError;
    Candidate candidate{
        fit.ErrorAfter(scale_step, minimum_step), scale + scale_step, -from + minimum_step};
    const float error = candidate.error;
    for (Candidate& other : kept_) {
      if (candidate.error < other.error) std::swap(candidate, other);
    }
    return error;
  }

  void FindCandidates() {
    const auto [lowest, highest] =
        std::minmax_element(block_.weights.begin(), block_.weights.end());
    const float low = *lowest;
    const float high = *highest;
    const float range = high - low;
    if (!(max_code_ / range < kInfiniteError)) return;
    const float middle = (low + high) / 2.0f;
    float best_error = kInfiniteError;
    float best_low = low;
    float best_high = high;
    const auto keep_better = [&](float from, float to) {
      const float error = TryRange(from, to);
      if (!(error < best_error)) return;
      best_error = error;
      best_low = from;
      best_high = to;
    };
    for (const float ratio : RangeRatios(block_.traits.codes)) {
      const float half = range / 2.0f * ratio;
      keep_better(middle - half, middle + half);
    }
    const float part = range / max_code_ * 0.5f;
    const float centre_low = best_low;
    for (const int step : kEndSteps) {
      keep_better(centre_low + part * static_cast<float>(step), best_high);
    }
    const float centre_high = best_high;
    for (const int step : kEndSteps) {
      keep_better(best_low, centre_high + part * static_cast<float>(step));
    }
  }

  const WeightedBlock& block_;
  const float max_code_;
  std::array<Candidate, kFinalists> kept_;
};

}  // namespace

void SearchScalesAndMinimums(const WeightedBlock& block, BlockFields* fields) {
  block.traits.groups() == 1 ? SingleSearch(block).Search(fields)
                             : SearchGroupScalesAndMinimums(block, fields);
}

}  // namespace bitbudget
