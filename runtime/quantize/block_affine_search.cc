#include "runtime/quantize/block_affine_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "runtime/quantize/grid_fit.h"
#include "runtime/quantize/integer_grid.h"

namespace bitbudget {
namespace {

std::span<const float> RangeRatios(int codes) {
  static const Ratios k32(12, 1.02f, 0.75f);
  static const Ratios k16(14, 1.06f, 0.55f);
  static const Ratios few(16, 1.2f, 0.35f);
  return (codes > 16 ? k32 : codes > 4 ? k16 : few).list();
}

class AffineSearch {
 public:
  explicit AffineSearch(const WeightedBlock& block)
      : block_(block),
        traits_(block.traits),
        max_code_(static_cast<float>(traits_.codes - 1)),
        signed_minimum_(traits_.largest_scale == 1) {}

  // One f16 scale and one f16 minimum.
  void SearchOne(BlockFields* fields) const {
    float best_error = kInfiniteError;
    for (const Candidate& candidate : Candidates(0)) {
      float scale = candidate.scale;
      float minimum = candidate.minimum;
      for (int round = 0; round <= kRefineRounds; ++round) {
        scale = RoundToHalf(scale);
        minimum = RoundToHalf(minimum);
        if (scale == 0.0f || !std::isfinite(scale) || !std::isfinite(minimum)) break;
        const AffineFit fit =
            FitAffine(block_.weights, block_.importance, scale, minimum, max_code_);
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

  // Integers for every group, d and dmin for the block.
  void SearchAll(BlockFields* fields) const {
    std::array<Optimum, kMaxBlockGroups> optima;
    std::array<float, kMaxBlockGroups> scales{};
    std::array<float, kMaxBlockGroups> minimums{};
    std::array<float, kMaxBlockGroups> energies{};
    std::array<float, kMaxBlockGroups> totals{};
    for (int g = 0; g < traits_.groups(); ++g) {
      optima[g] = BestOf(g);
      scales[g] = optima[g].scale;
      minimums[g] = optima[g].minimum;
      // What a wrong scale costs once the minimum has followed it, and the other way round.
      const float energy = optima[g].fit.energy;
      const float total = optima[g].fit.total;
      const float sum = optima[g].fit.sum;
      energies[g] = total > 0.0f ? std::max(energy - sum * sum / total, 0.0f) : 0.0f;
      totals[g] = energy > 0.0f ? std::max(total - sum * sum / energy, 0.0f) : total;
    }
    const int groups = traits_.groups();
    const auto used = [&](const auto& values) {
      return std::span<const float>(values).first(groups);
    };
    const int largest = traits_.largest_scale;
    const auto units = BestUnits(used(scales), used(energies), 0, largest);
    const auto minimum_units = BestUnits(used(minimums), used(totals), 0, largest);
    float best_error = kInfiniteError;
    for (const float unit : units) {
      for (const float minimum_unit : minimum_units) {
        if (unit == 0.0f || (minimum_unit == 0.0f && minimum_unit != minimum_units[0])) continue;
        Refine(unit, minimum_unit, optima, fields, &best_error);
      }
    }
    if (best_error < kInfiniteError) Polish(fields);
  }

 private:
  struct Candidate {
    float error = kInfiniteError;
    float scale = 0.0f;
    float minimum = 0.0f;
  };

  // A group's best scale and minimum, and how the error grows around them (`fit`).
  struct Optimum {
    float scale = 0.0f;
    float minimum = 0.0f;
    AffineFit fit{};
  };
  using Optima = std::array<Optimum, kMaxBlockGroups>;

  std::pair<float, float> Range(int g) const {
    const std::span<const float> group = block_.Group(g);
    const auto [low, high] = std::minmax_element(group.begin(), group.end());
    return {signed_minimum_ ? *low : std::min(*low, 0.0f), *high};
  }

  // The move of a fit, kept from a minimum below 0 where none can be stored.
  bool Move(const AffineFit& fit, float minimum, float* scale_step, float* minimum_step) const {
    if (!fit.BestMove(scale_step, minimum_step)) return false;
    if (signed_minimum_ || minimum + *minimum_step >= 0.0f) return true;
    *minimum_step = -minimum;
    // The best scale for this minimum: energy a = cross + sum b.
    *scale_step = fit.energy > 0.0f ? (fit.cross + fit.sum * *minimum_step) / fit.energy : 0.0f;
    return true;
  }

  std::array<Candidate, kFinalists> Candidates(int g) const {
    std::array<Candidate, kFinalists> kept;
    const auto [low, high] = Range(g);
    const float range = high - low;
    if (!(max_code_ / range < kInfiniteError)) return kept;
    const auto try_range = [&](float from, float to) {
      if (!signed_minimum_) from = std::min(from, 0.0f);
      if (!(from < to)) return kInfiniteError;
      const float scale = (to - from) / max_code_;
      const AffineFit fit =
          FitAffine(block_.Group(g), block_.Importance(g), scale, -from, max_code_);
      float scale_step = 0.0f;
      float minimum_step = 0.0f;
      if (!Move(fit, -from, &scale_step, &minimum_step)) return kInfiniteError;
      Candidate candidate{
          fit.ErrorAfter(scale_step, minimum_step), scale + scale_step, -from + minimum_step};
      const float error = candidate.error;
      for (Candidate& other : kept) {
        if (candidate.error < other.error) std::swap(candidate, other);
      }
      return error;
    };
    const float middle = (low + high) / 2.0f;
    float best_error = kInfiniteError;
    float best_low = low;
    float best_high = high;
    const auto keep_better = [&](float from, float to) {
      const float error = try_range(from, to);
      if (!(error < best_error)) return;
      best_error = error;
      best_low = from;
      best_high = to;
    };
    for (const float ratio : RangeRatios(traits_.codes)) {
      const float half = range / 2.0f * ratio;
      keep_better(middle - half, middle + half);
    }
    // Each end alone, by parts of a step.
    const float part = range / max_code_ * 0.5f;
    const float centre_low = best_low;
    for (const int step : {-3, -2, -1, 1, 2, 3}) {
      keep_better(centre_low + part * static_cast<float>(step), best_high);
    }
    const float centre_high = best_high;
    for (const int step : {-3, -2, -1, 1, 2, 3}) {
      keep_better(best_low, centre_high + part * static_cast<float>(step));
    }
    return kept;
  }

  AffineFit Fit(int g, float scale, float minimum) const {
    if (scale != 0.0f)
      return FitAffine(block_.Group(g), block_.Importance(g), scale, minimum, max_code_);
    AffineFit fit{};
    for (int i = 0; i < traits_.group; ++i) {
      const float v = block_.ImportanceOf(g, i);
      const float d = block_.Group(g)[i] + minimum;
      fit.error += v * d * d;
      fit.residual += v * d;
      fit.total += v;
    }
    return fit;
  }

  // The better finalist after fitting codes and real-valued grid to each other.
  Optimum BestOf(int g) const {
    Optimum best;
    best.minimum = std::max(-Range(g).first, 0.0f);
    best.fit = Fit(g, 0.0f, best.minimum);
    float best_error = kInfiniteError;
    for (const Candidate& candidate : Candidates(g)) {
      if (candidate.error == kInfiniteError || candidate.scale == 0.0f) continue;
      Optimum at{candidate.scale, candidate.minimum, {}};
      for (int round = 0; round < kRefineRounds; ++round) {
        at.fit = Fit(g, at.scale, at.minimum);
        float scale_step = 0.0f;
        float minimum_step = 0.0f;
        if (!Move(at.fit, at.minimum, &scale_step, &minimum_step)) break;
        const float error = at.fit.ErrorAfter(scale_step, minimum_step);
        at.scale += scale_step;
        at.minimum += minimum_step;
        if (!(at.scale > 0.0f)) break;
        if (error < best_error) {
          best_error = error;
          best = at;
        }
      }
    }
    return best;
  }

  // The integers nearest to an optimum, in terms of its error, not of distance.
  void Round(const Optimum& optimum,
             float unit,
             float minimum_unit,
             int16_t* scale,
             int16_t* minimum) const {
    const AffineFit& fit = optimum.fit;
    const int largest = traits_.largest_scale;
    const int16_t nearest = NearestMultiple(optimum.scale, unit, 0, largest);
    float best = kInfiniteError;
    for (const int step : {0, -1, 1}) {
      const int integer = nearest + step;
      if (integer < 0 || integer > largest) continue;
      const float a = unit * static_cast<float>(integer) - optimum.scale;
      const float wanted = optimum.minimum + (fit.total > 0.0f ? fit.sum / fit.total * a : 0.0f);
      const int16_t rounded = NearestMultiple(wanted, minimum_unit, 0, largest);
      const float b = minimum_unit * static_cast<float>(rounded) - optimum.minimum;
      const float cost = fit.energy * a * a - 2.0f * fit.sum * a * b + fit.total * b * b;
      if (cost < best) {
        best = cost;
        *scale = static_cast<int16_t>(integer);
        *minimum = rounded;
      }
    }
  }

  void Refine(
      float unit, float minimum_unit, Optima optima, BlockFields* fields, float* best) const {
    for (int round = 0; round < kBlockRounds; ++round) {
      std::array<int16_t, kMaxBlockGroups> scales{};
      std::array<int16_t, kMaxBlockGroups> minimums{};
      float error = 0.0f;
      // Normal equations of d and dmin for these integers, in terms of the groups' optima.
      double dd = 0.0, dm = 0.0, mm = 0.0, d_right = 0.0, m_right = 0.0;
      for (int g = 0; g < traits_.groups(); ++g) {
        Optimum& at = optima[g];
        Round(at, unit, minimum_unit, &scales[g], &minimums[g]);
        const float scale = unit * static_cast<float>(scales[g]);
        const float minimum = minimum_unit * static_cast<float>(minimums[g]);
        at.fit = Fit(g, scale, minimum);
        error += at.fit.error;
        float scale_step = 0.0f;
        float minimum_step = 0.0f;
        if (Move(at.fit, minimum, &scale_step, &minimum_step) && scale + scale_step >= 0.0f) {
          at.scale = scale + scale_step;
          at.minimum = minimum + minimum_step;
        } else {
          at.scale = scale;
          at.minimum = minimum;
        }
        const double s = scales[g];
        const double m = minimums[g];
        dd += at.fit.energy * s * s;
        dm -= at.fit.sum * s * m;
        mm += at.fit.total * m * m;
        d_right += s * (at.fit.energy * at.scale - at.fit.sum * at.minimum);
        m_right += m * (at.fit.total * at.minimum - at.fit.sum * at.scale);
      }
      if (error < *best) {
        *best = error;
        fields->d = unit;
        fields->dmin = minimum_unit;
        fields->scales = scales;
        fields->minimums = minimums;
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

  // The neighbours of every integer scale with the minimums that suit them, and of every minimum,
  // with their own codes.
  void Polish(BlockFields* fields) const {
    const int largest = traits_.largest_scale;
    for (int g = 0; g < traits_.groups(); ++g) {
      const int scale = fields->scales[g];
      const int minimum = fields->minimums[g];
      AffineFit fit =
          Fit(g, fields->d * static_cast<float>(scale), fields->dmin * static_cast<float>(minimum));
      float best = fit.error;
      const auto try_pair = [&](int s, int m) {
        if (s < 0 || s > largest || m < 0 || m > largest) return;
        const float error =
            Fit(g, fields->d * static_cast<float>(s), fields->dmin * static_cast<float>(m)).error;
        if (!(error < best)) return;
        best = error;
        fields->scales[g] = static_cast<int16_t>(s);
        fields->minimums[g] = static_cast<int16_t>(m);
      };
      try_pair(scale, minimum - 1);
      try_pair(scale, minimum + 1);
      if (!(fit.total > 0.0f) || fields->dmin == 0.0f) {
        try_pair(scale - 1, minimum);
        try_pair(scale + 1, minimum);
        continue;
      }
      for (const int step : {-1, 1}) {
        const float follow = fit.sum / fit.total * fields->d * static_cast<float>(step);
        const float wanted = fields->dmin * static_cast<float>(minimum) + follow;
        try_pair(scale + step, NearestMultiple(wanted, fields->dmin, 0, largest));
      }
    }
  }

  const WeightedBlock& block_;
  const BlockTraits& traits_;
  const float max_code_;
  const bool signed_minimum_;
};

}  // namespace

void SearchScalesAndMinimums(const WeightedBlock& block, BlockFields* fields) {
  const AffineSearch search(block);
  block.traits.groups() == 1 ? search.SearchOne(fields) : search.SearchAll(fields);
}

}  // namespace bitbudget
