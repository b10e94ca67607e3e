#include "runtime/quantize/group_scale_search.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/quantize/group_fit-inl.h"
#include "runtime/quantize/integer_grid.h"

namespace bitbudget {
namespace {

using internal::BestUnits;
using internal::FromIntegers;
using internal::LoadLanes;
using internal::NearestMultiples;
using internal::ToIntegers;

// With the fits of one instruction set; all of it is inlined into a function for that set.
template <typename Fits>
class ScaleSearch {
 public:
  BITBUDGET_INLINE explicit ScaleSearch(const WeightedBlock& block)
      : traits_(block.traits), levels_(block.traits), block_(block) {}

  BITBUDGET_INLINE void Search(BlockFields* fields) const {
    PerGroup scales{};
    PerGroup energies{};
    FindScales(&scales, &energies);
    float best_error = kInfiniteError;
    for (const float unit : BestUnits(scales, energies, low(), high())) {
      if (unit != 0.0f) Refine(unit, scales, energies, fields, &best_error);
    }
    if (best_error < kInfiniteError) Polish(fields);
  }

 private:
  BITBUDGET_INLINE void Fit(const PerGroup& scales, GroupScaleFits* fits) const {
    levels_.table != nullptr ? Fits::Levels(block_, scales, *levels_.table, fits)
                             : Fits::Steps(block_, scales, levels_.low, levels_.high, fits);
  }

  int low() const { return traits_.smallest_scale; }
  int high() const { return traits_.largest_scale; }

  // The best least-squares scales for the codes that some scale chooses, and their energies; 0 in
  // groups that have none.
  BITBUDGET_INLINE void FindScales(PerGroup* scales, PerGroup* energies) const {
    PerGroup widest{};
    for (int i = 0; i < block_.size(); ++i) {
      PerGroup weights;
      LoadLanes(block_.weights(i), &weights);
      widest = weights > widest ? weights : widest;
      widest = -weights > widest ? -weights : widest;
    }
    widest /= levels_.end();
    // Where the inverse overflows, scale 0 has no codes.
    const PerGroup inverse = 1.0f / widest;
    widest = inverse < kInfiniteError ? widest : PerGroup{};
    PerGroup best = PerGroup{} + kInfiniteError;
    const auto try_scales = [&](const PerGroup& tried) __attribute__((always_inline)) {
      GroupScaleFits fits;
      Fit(tried, &fits);
      const PerGroup step = fits.cross / fits.energy;
      const PerGroup error = fits.error - fits.cross * step;
      const auto better = (fits.energy > 0.0f) & (error < best);
      best = better ? error : best;
      *scales = better ? tried + step : *scales;
      *energies = better ? fits.energy : *energies;
    };
    for (const float ratio : ScaleRatios(traits_.codes)) {
      try_scales(widest * ratio);
      if (!levels_.symmetric()) try_scales(-(widest * ratio));
    }
  }

  // Codes for the scales, scales for the codes.
  BITBUDGET_INLINE void Refine(float unit,
                               const PerGroup& start,
                               const PerGroup& start_energies,
                               BlockFields* fields,
                               float* best) const {
    PerGroup scales = start;
    PerGroup energies = start_energies;
    for (int round = 0; round < kBlockRounds; ++round) {
      PerGroup integers;
      NearestMultiples(scales, unit, low(), high(), &integers);
      const PerGroup rounded = unit * integers;
      GroupScaleFits fits;
      Fit(rounded, &fits);
      const PerGroup step = fits.cross / fits.energy;
      scales = fits.energy > 0.0f ? rounded + step : scales;
      energies = fits.energy > 0.0f ? fits.energy : energies;
      float error = 0.0f;
      double numerator = 0.0;
      double denominator = 0.0;
      for (int g = 0; g < traits_.groups(); ++g) {
        error += fits.error[g];
        numerator += static_cast<double>(energies[g]) * integers[g] * scales[g];
        denominator += static_cast<double>(energies[g]) * integers[g] * integers[g];
      }
      if (error < *best) {
        *best = error;
        fields->d = unit;
        ToIntegers(integers, &fields->scales);
      }
      if (!(denominator > 0.0)) return;
      const float next = RoundToHalf(static_cast<float>(numerator / denominator));
      if (next == 0.0f || !std::isfinite(next)) return;
      unit = next;
    }
  }

  // The neighbours of every integer scale, with their own codes.
  BITBUDGET_INLINE void Polish(BlockFields* fields) const {
    PerGroup centre;
    FromIntegers(fields->scales, traits_.groups(), &centre);
    PerGroup integers = centre;
    GroupScaleFits fits;
    Fit(fields->d * centre, &fits);
    PerGroup best = fits.error;
    for (const float step : {-1.0f, 1.0f}) {
      const PerGroup tried = centre + step;
      Fit(fields->d * tried, &fits);
      const auto inside =
          (tried >= static_cast<float>(low())) & (tried <= static_cast<float>(high()));
      const auto better = inside & (fits.error < best);
      best = better ? fits.error : best;
      integers = better ? tried : integers;
    }
    ToIntegers(integers, &fields->scales);
  }

  const BlockTraits& traits_;
  const BlockLevels levels_;
  const TurnedBlock block_;
};

#define BITBUDGET_SEARCH(name, attributes)                                           \
  struct name {                                                                      \
    attributes static void Search(const WeightedBlock& block, BlockFields* fields) { \
      ScaleSearch<internal::name##Fits>(block).Search(fields);                       \
    }                                                                                \
  }
BITBUDGET_FOR_EVERY_SET(BITBUDGET_SEARCH);

std::vector<SearchBody> Available() { return BITBUDGET_RUNNABLE(Search); }

}  // namespace

void SearchGroupScales(const WeightedBlock& block, BlockFields* fields) {
  static const SearchBody fastest = Available().back();
  fastest(block, fields);
}

namespace internal {

bool ScaleSearchesAgree(const WeightedBlock& block, const BlockFields& start) {
  return SearchesAgree(Available(), block, start);
}

}  // namespace internal
}  // namespace bitbudget
