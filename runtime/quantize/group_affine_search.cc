#include "runtime/quantize/group_affine_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
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
class AffineSearch {
 public:
  BITBUDGET_INLINE explicit AffineSearch(const WeightedBlock& block)
      : traits_(block.traits), max_code_(static_cast<float>(traits_.codes - 1)), block_(block) {}

  BITBUDGET_INLINE void Search(BlockFields* fields) {
    FindOptima();
    // What a wrong scale costs once the minimum has followed it, and the other way round.
    const GroupAffineFits& fits = optima_.fits;
    PerGroup energies = fits.energy - fits.sum * fits.sum / fits.total;
    energies = ((fits.total > 0.0f) & (energies > 0.0f)) ? energies : PerGroup{};
    PerGroup totals = fits.total - fits.sum * fits.sum / fits.energy;
    totals = fits.energy > 0.0f ? totals : fits.total;
    totals = totals > 0.0f ? totals : PerGroup{};
    const int largest = traits_.largest_scale;
    const auto units = BestUnits(optima_.scales, energies, 0, largest);
    const auto minimum_units = BestUnits(optima_.minimums, totals, 0, largest);
    float best_error = kInfiniteError;
    for (const float unit : units) {
      for (const float minimum_unit : minimum_units) {
        if (unit == 0.0f || (minimum_unit == 0.0f && minimum_unit != minimum_units[0])) continue;
        Refine(unit, minimum_unit, fields, &best_error);
      }
    }
    if (best_error < kInfiniteError) Polish(fields);
  }

 private:
  struct Candidates {
    PerGroup errors = PerGroup{} + kInfiniteError;
    PerGroup scales{};
    PerGroup minimums{};
  };

  // The groups' best scales and minimums, and how the errors grow around them (`fits`).
  struct Optima {
    PerGroup scales{};
    PerGroup minimums{};
    GroupAffineFits fits{};
  };

  BITBUDGET_INLINE void Fit(const PerGroup& scales,
                            const PerGroup& minimums,
                            GroupAffineFits* fits) const {
    Fits::Affine(block_, scales, minimums, max_code_, fits);
  }

  // Codes that span [from, to], with the best grids for them, into kept_; their errors.
  BITBUDGET_INLINE void TryRange(const PerGroup& wanted, const PerGroup& to, PerGroup* errors) {
    const PerGroup from = wanted < 0.0f ? wanted : PerGroup{};
    const auto possible = (from < to) & possible_;
    const PerGroup scale = possible ? (to - from) / max_code_ : PerGroup{};
    const PerGroup minimum = -from;
    GroupAffineFits fits;
    Fit(scale, minimum, &fits);
    PerGroup error = possible ? fits.moved_error : PerGroup{} + kInfiniteError;
    *errors = error;
    PerGroup moved_scale = scale + fits.scale_step;
    PerGroup moved_minimum = minimum + fits.minimum_step;
    for (Candidates& other : kept_) {
      const auto better = error < other.errors;
      const auto keep = [&](PerGroup & ours, PerGroup & theirs) __attribute__((always_inline)) {
        const PerGroup worse = better ? theirs : ours;
        theirs = better ? ours : theirs;
        ours = worse;
      };
      keep(moved_scale, other.scales);
      keep(moved_minimum, other.minimums);
      keep(error, other.errors);
    }
  }

  BITBUDGET_INLINE void FindCandidates() {
    PerGroup low{};  // minimums are not below 0
    PerGroup high = PerGroup{} - kInfiniteError;
    for (int i = 0; i < block_.size(); ++i) {
      PerGroup weights;
      LoadLanes(block_.weights(i), &weights);
      low = weights < low ? weights : low;
      high = weights > high ? weights : high;
    }
    low_ = low;
    const PerGroup range = high - low;
    possible_ = (range > 0.0f) & (max_code_ / range < kInfiniteError);
    const PerGroup middle = (low + high) / 2.0f;
    PerGroup best_error = PerGroup{} + kInfiniteError;
    PerGroup best_low = low;
    PerGroup best_high = high;
    const auto keep_better = [&](const PerGroup& from, const PerGroup& to)
        __attribute__((always_inline)) {
      PerGroup error;
      TryRange(from, to, &error);
      const auto better = error < best_error;
      best_error = better ? error : best_error;
      best_low = better ? from : best_low;
      best_high = better ? to : best_high;
    };
    for (const float ratio : RangeRatios(traits_.codes)) {
      const PerGroup half = range / 2.0f * ratio;
      keep_better(middle - half, middle + half);
    }
    const PerGroup part = range / max_code_ * 0.5f;
    const PerGroup centre_low = best_low;
    for (const int step : kEndSteps) {
      keep_better(centre_low + part * static_cast<float>(step), best_high);
    }
    const PerGroup centre_high = best_high;
    for (const int step : kEndSteps) {
      keep_better(best_low, centre_high + part * static_cast<float>(step));
    }
  }

  // The better finalists after fitting codes and real-valued grids to each other.
  BITBUDGET_INLINE void FindOptima() {
    FindCandidates();
    optima_.minimums = -low_;
    Fit(PerGroup{}, optima_.minimums, &optima_.fits);
    PerGroup best_error = PerGroup{} + kInfiniteError;
    for (const Candidates& candidates : kept_) {
      PerGroup scales = candidates.scales;
      PerGroup minimums = candidates.minimums;
      auto going = (candidates.errors < kInfiniteError) & (scales != 0.0f);
      for (int round = 0; round < kRefineRounds; ++round) {
        GroupAffineFits fits;
        Fit(scales, minimums, &fits);
        scales += fits.scale_step;
        minimums += fits.minimum_step;
        going &= (scales > 0.0f) & (fits.moved_error < kInfiniteError);
        const auto better = going & (fits.moved_error < best_error);
        best_error = better ? fits.moved_error : best_error;
        optima_.scales = better ? scales : optima_.scales;
        optima_.minimums = better ? minimums : optima_.minimums;
        for (const auto part :
             {&GroupAffineFits::energy, &GroupAffineFits::sum, &GroupAffineFits::total}) {
          optima_.fits.*part = better ? fits.*part : optima_.fits.*part;
        }
      }
    }
  }

  // The integers nearest to the optima, in terms of their errors, not of distance.
  BITBUDGET_INLINE void Round(const Optima& optima,
                              float unit,
                              float minimum_unit,
                              PerGroup* scales,
                              PerGroup* minimums) const {
    const GroupAffineFits& fits = optima.fits;
    const int largest = traits_.largest_scale;
    const PerGroup slope = fits.total > 0.0f ? fits.sum / fits.total : PerGroup{};
    PerGroup nearest;
    NearestMultiples(optima.scales, unit, 0, largest, &nearest);
    PerGroup best = PerGroup{} + kInfiniteError;
    *scales = PerGroup{};
    *minimums = PerGroup{};
    for (const float step : {0.0f, -1.0f, 1.0f}) {
      const PerGroup integers = nearest + step;
      const PerGroup a = unit * integers - optima.scales;
      PerGroup rounded;
      NearestMultiples(optima.minimums + slope * a, minimum_unit, 0, largest, &rounded);
      const PerGroup b = minimum_unit * rounded - optima.minimums;
      const PerGroup cost = fits.energy * a * a - 2.0f * fits.sum * a * b + fits.total * b * b;
      const auto better =
          (integers >= 0.0f) & (integers <= static_cast<float>(largest)) & (cost < best);
      best = better ? cost : best;
      *scales = better ? integers : *scales;
      *minimums = better ? rounded : *minimums;
    }
  }

  BITBUDGET_INLINE void Refine(float unit,
                               float minimum_unit,
                               BlockFields* fields,
                               float* best) const {
    Optima at = optima_;
    for (int round = 0; round < kBlockRounds; ++round) {
      PerGroup scales;
      PerGroup minimums;
      Round(at, unit, minimum_unit, &scales, &minimums);
      const PerGroup scale = unit * scales;
      const PerGroup minimum = minimum_unit * minimums;
      Fit(scale, minimum, &at.fits);
      const auto moves =
          (at.fits.moved_error < kInfiniteError) & (scale + at.fits.scale_step >= 0.0f);
      at.scales = moves ? scale + at.fits.scale_step : scale;
      at.minimums = moves ? minimum + at.fits.minimum_step : minimum;
      float error = 0.0f;
      // Normal equations of d and dmin for these integers, in terms of the groups' optima.
      double dd = 0.0, dm = 0.0, mm = 0.0, d_right = 0.0, m_right = 0.0;
      for (int g = 0; g < traits_.groups(); ++g) {
        const double s = scales[g];
        const double m = minimums[g];
        const double energy = at.fits.energy[g];
        const double sum = at.fits.sum[g];
        const double total = at.fits.total[g];
        error += at.fits.error[g];
        dd += energy * s * s;
        dm -= sum * s * m;
        mm += total * m * m;
        d_right += s * (energy * at.scales[g] - sum * at.minimums[g]);
        m_right += m * (total * at.minimums[g] - sum * at.scales[g]);
      }
      if (error < *best) {
        *best = error;
        fields->d = unit;
        fields->dmin = minimum_unit;
        ToIntegers(scales, &fields->scales);
        ToIntegers(minimums, &fields->minimums);
      }
      const double determinant = dd * mm - dm * dm;
      double next = unit;
      double next_minimum = minimum_unit;
      if (determinant > 1e-9 * dd * mm) {
        next = (d_right * mm - m_right * dm) / determinant;
        next_minimum = (m_right * dd - d_right * dm) / determinant;
      } else if (dd > 0.0) {
        next = (d_right - dm * minimum_unit) / dd;
      }
      const float rounded = RoundToHalf(static_cast<float>(next));
      const float rounded_minimum = RoundToHalf(std::max(static_cast<float>(next_minimum), 0.0f));
      if (!(rounded > 0.0f) || !std::isfinite(rounded) || !std::isfinite(rounded_minimum)) return;
      unit = rounded;
      minimum_unit = rounded_minimum;
    }
  }

  // The neighbours of every integer minimum, and of every scale with the minimums that suit them,
  // with their own codes.
  BITBUDGET_INLINE void Polish(BlockFields* fields) const {
    const int groups = traits_.groups();
    PerGroup scale;
    PerGroup minimum;
    FromIntegers(fields->scales, groups, &scale);
    FromIntegers(fields->minimums, groups, &minimum);
    PerGroup best_scale = scale;
    PerGroup best_minimum = minimum;
    GroupAffineFits fits;
    Fit(fields->d * scale, fields->dmin * minimum, &fits);
    PerGroup best = fits.error;
    const PerGroup slope = fits.total > 0.0f ? fits.sum / fits.total : PerGroup{};
    const float largest = static_cast<float>(traits_.largest_scale);
    const auto try_pairs = [&](const PerGroup& s, const PerGroup& m)
        __attribute__((always_inline)) {
      Fit(fields->d * s, fields->dmin * m, &fits);
      const auto inside = (s >= 0.0f) & (s <= largest) & (m >= 0.0f) & (m <= largest);
      const auto better = inside & (fits.error < best);
      best = better ? fits.error : best;
      best_scale = better ? s : best_scale;
      best_minimum = better ? m : best_minimum;
    };
    for (const float step : {-1.0f, 1.0f}) try_pairs(scale, minimum + step);
    for (const float step : {-1.0f, 1.0f}) {
      PerGroup suited = minimum;
      if (fields->dmin != 0.0f) {
        NearestMultiples(fields->dmin * minimum + slope * fields->d * step,
                         fields->dmin,
                         0,
                         traits_.largest_scale,
                         &suited);
      }
      try_pairs(scale + step, suited);
    }
    ToIntegers(best_scale, &fields->scales);
    ToIntegers(best_minimum, &fields->minimums);
  }

  typedef int32_t GroupMask __attribute__((vector_size(sizeof(PerGroup))));

  const BlockTraits& traits_;
  const float max_code_;
  const TurnedBlock block_;
  PerGroup low_{};
  GroupMask possible_{};  // groups whose range has a scale
  std::array<Candidates, kFinalists> kept_;
  Optima optima_;
};

#define BITBUDGET_SEARCH(name, attributes)                                           \
  struct name {                                                                      \
    attributes static void Search(const WeightedBlock& block, BlockFields* fields) { \
      AffineSearch<internal::name##Fits>(block).Search(fields);                      \
    }                                                                                \
  }
BITBUDGET_FOR_EVERY_SET(BITBUDGET_SEARCH);

std::vector<SearchBody> Available() { return BITBUDGET_RUNNABLE(Search); }

}  // namespace

void SearchGroupScalesAndMinimums(const WeightedBlock& block, BlockFields* fields) {
  static const SearchBody fastest = Available().back();
  fastest(block, fields);
}

namespace internal {

bool AffineSearchesAgree(const WeightedBlock& block, const BlockFields& start) {
  return SearchesAgree(Available(), block, start);
}

}  // namespace internal

}  // namespace bitbudget
