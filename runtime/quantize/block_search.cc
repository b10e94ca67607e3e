#include "runtime/quantize/block_search.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "runtime/quantize/block_rtn.h"
#include "runtime/quantize/grid_fit.h"
#include "runtime/quantize/integer_grid.h"

namespace bitbudget {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
// Starting points that are refined, and how often codes and scales are fitted to each other.
constexpr int kFinalists = 2;
constexpr int kRefineRounds = 2;
constexpr int kBlockRounds = 3;

// Ratios to the scale that spans a group, which are tried. Few levels gain by clipping a lot, many
// by steps that happen to fit, so their ratios are near 1. Geometric, so that small ones are as
// dense.
struct Ratios {
  Ratios(int steps, float largest, float smallest) : count(steps) {
    CHECK_LE(steps, static_cast<int>(values.size()));
    for (int step = 0; step < steps; ++step) {
      values[step] = largest * std::pow(smallest / largest,
                                        static_cast<float>(step) / static_cast<float>(steps - 1));
    }
  }
  std::span<const float> list() const { return std::span(values).first(count); }

  std::array<float, 24> values;
  int count;
};

std::span<const float> ScaleRatios(int codes) {
  static const Ratios k256(12, 1.0f, 0.93f);
  static const Ratios k64(12, 1.0f, 0.8f);
  static const Ratios k32(14, 1.0f, 0.6f);
  static const Ratios k16(16, 1.0f, 0.45f);
  static const Ratios k8(16, 1.0f, 0.35f);
  static const Ratios few(24, 1.0f, 0.08f);
  const Ratios& ratios = codes > 64   ? k256
                         : codes > 32 ? k64
                         : codes > 16 ? k32
                         : codes > 8  ? k16
                         : codes > 4  ? k8
                                      : few;
  return ratios.list();
}

std::span<const float> RangeRatios(int codes) {
  static const Ratios k32(12, 1.02f, 0.75f);
  static const Ratios k16(14, 1.06f, 0.55f);
  static const Ratios few(16, 1.2f, 0.35f);
  return (codes > 16 ? k32 : codes > 4 ? k16 : few).list();
}

// The nearest levels of one type; what FitSteps and FitLevels have in common.
class Levels {
 public:
  explicit Levels(const BlockTraits& traits)
      : low_(static_cast<float>(traits.Level(0))),
        high_(static_cast<float>(traits.Level(traits.codes - 1))) {
    static const LevelTable non_linear{internal::kNonLinearLevels};
    if (traits.levels == internal::kNonLinearLevels) table_ = &non_linear;
    if (traits.kind == FormatKind::kTQ2_0) high_ = 1.0f;
  }

  // The smaller of the ends: a scale that gives it to the largest weight clips nothing.
  float end() const { return std::min(-low_, high_); }
  bool symmetric() const { return -low_ == high_; }

  ScaleFit Fit(std::span<const float> weights,
               std::span<const float> importance,
               float scale) const {
    return table_ != nullptr ? FitLevels(weights, importance, scale, *table_)
                             : FitSteps(weights, importance, scale, low_, high_);
  }

 private:
  float low_;
  float high_;
  const LevelTable* table_ = nullptr;
};

// The integers that multiply a unit (d or dmin) to approximate values. `cost` is what a deviation
// costs: sum curvature (value - unit * integer)^2.
float UnitCost(std::span<const float> values,
               std::span<const float> curvatures,
               float unit,
               int smallest,
               int largest) {
  const float inverse = 1.0f / unit;
  float cost = 0.0f;
  for (size_t i = 0; i < values.size(); ++i) {
    const float clipped =
        std::clamp(values[i] * inverse, static_cast<float>(smallest), static_cast<float>(largest));
    const float integer = (clipped + 0x1.8p23f) - 0x1.8p23f;  // to nearest even
    const float deviation = values[i] - unit * integer;
    cost += curvatures[i] * deviation * deviation;
  }
  return cost;
}

// The best units among those that give the largest value an integer near the largest; with integers
// of both signs, near either end. Best first; 0 where there is none.
std::array<float, kFinalists> BestUnits(std::span<const float> values,
                                        std::span<const float> curvatures,
                                        int smallest,
                                        int largest) {
  std::array<float, kFinalists> units{};
  std::array<float, kFinalists> costs;
  costs.fill(kInfinity);
  float end = 0.0f;
  for (const float value : values) {
    if (std::abs(value) > std::abs(end)) end = value;
  }
  const auto try_unit = [&](float unit) {
    unit = RoundToHalf(unit);
    if (unit == 0.0f || !std::isfinite(unit)) return;
    float cost = UnitCost(values, curvatures, unit, smallest, largest);
    for (int i = 0; i < kFinalists; ++i) {
      if (unit == units[i]) return;
      if (cost < costs[i]) {
        std::swap(cost, costs[i]);
        std::swap(unit, units[i]);
      }
    }
  };
  constexpr int kSteps = 20;
  for (int step = 0; step < kSteps; ++step) {
    const float ratio = 1.0f - 0.015f * static_cast<float>(step);
    try_unit(end / ((static_cast<float>(largest) + 0.4f) * ratio));
    if (smallest < 0) try_unit(end / ((static_cast<float>(smallest) - 0.4f) * ratio));
  }
  return units;
}

int16_t Integer(float value, float unit, int smallest, int largest) {
  if (unit == 0.0f) return 0;
  return static_cast<int16_t>(std::lrint(
      std::clamp(value / unit, static_cast<float>(smallest), static_cast<float>(largest))));
}

// What is common to the searches of one block.
class BlockSearch {
 public:
  BlockSearch(std::span<const float> weights,
              std::span<const float> importance,
              const BlockTraits& traits)
      : weights_(weights), importance_(importance), traits_(traits) {}

 protected:
  std::span<const float> Group(int g) const {
    return weights_.subspan(g * traits_.group, traits_.group);
  }
  std::span<const float> Importance(int g) const {
    return importance_.empty() ? importance_
                               : importance_.subspan(g * traits_.group, traits_.group);
  }

  const std::span<const float> weights_;
  const std::span<const float> importance_;
  const BlockTraits& traits_;
};

// Types without minimums.
class ScaleSearch : public BlockSearch {
 public:
  ScaleSearch(std::span<const float> weights,
              std::span<const float> importance,
              const BlockTraits& traits)
      : BlockSearch(weights, importance, traits), levels_(traits) {}

  // One f16 scale.
  void SearchOne(BlockFields* fields) const {
    const std::array<Candidate, kFinalists> candidates = Candidates(0);
    float best_error = kInfinity;
    for (const Candidate& candidate : candidates) {
      float scale = candidate.scale;
      for (int round = 0; round <= kRefineRounds; ++round) {
        scale = RoundToHalf(scale);
        if (scale == 0.0f || !std::isfinite(scale)) break;
        const ScaleFit fit = levels_.Fit(weights_, importance_, scale);
        if (fit.error < best_error) {
          best_error = fit.error;
          fields->d = scale;
        }
        if (!fit.HasBetterScale()) break;
        scale += fit.ScaleStep();
      }
    }
  }

  // An integer scale for every group and d for the block.
  void SearchAll(BlockFields* fields) const {
    std::array<float, kMaxBlockGroups> scales{};
    std::array<float, kMaxBlockGroups> energies{};
    for (int g = 0; g < traits_.groups(); ++g) {
      const Candidate best = Candidates(g)[0];
      scales[g] = best.scale;
      energies[g] = best.energy;
    }
    float best_error = kInfinity;
    for (const float unit : BestUnits(Used(scales), Used(energies), low(), high())) {
      if (unit != 0.0f) Refine(unit, scales, energies, fields, &best_error);
    }
    if (best_error < kInfinity) Polish(fields);
  }

 private:
  struct Candidate {
    float error = kInfinity;
    float scale = 0.0f;
    float energy = 0.0f;
  };
  using Floats = std::array<float, kMaxBlockGroups>;

  int low() const { return traits_.smallest_scale; }
  int high() const { return traits_.largest_scale; }
  std::span<const float> Used(const Floats& values) const {
    return std::span(values).first(traits_.groups());
  }

  // The best least-squares scales of a group for the codes that some scale chooses.
  std::array<Candidate, kFinalists> Candidates(int g) const {
    std::array<Candidate, kFinalists> kept;
    float largest = 0.0f;
    for (const float weight : Group(g)) largest = std::max(largest, std::abs(weight));
    const float widest = largest / levels_.end();
    if (!(std::abs(1.0f / widest) < kInfinity)) return kept;
    const auto try_scale = [&](float scale) {
      const ScaleFit fit = levels_.Fit(Group(g), Importance(g), scale);
      if (!fit.HasBetterScale()) return;
      Candidate candidate{fit.BestError(), scale + fit.ScaleStep(), fit.energy};
      for (Candidate& other : kept) {
        if (candidate.error < other.error) std::swap(candidate, other);
      }
    };
    for (const float ratio : ScaleRatios(traits_.codes)) {
      const float scale = widest * ratio;
      try_scale(scale);
      if (!levels_.symmetric()) try_scale(-scale);
    }
    return kept;
  }

  float Fit(int g, float scale, ScaleFit* fit) const {
    if (scale == 0.0f) {
      *fit = {0.0f, 0.0f, 0.0f};
      const std::span<const float> group = Group(g);
      for (int i = 0; i < traits_.group; ++i) {
        fit->error += (importance_.empty() ? 1.0f : Importance(g)[i]) * group[i] * group[i];
      }
    } else {
      *fit = levels_.Fit(Group(g), Importance(g), scale);
    }
    return fit->error;
  }

  // Codes for the scales, scales for the codes.
  void Refine(float unit, Floats scales, Floats energies, BlockFields* fields, float* best) const {
    for (int round = 0; round < kBlockRounds; ++round) {
      std::array<int16_t, kMaxBlockGroups> integers;
      integers.fill(1);
      float error = 0.0f;
      double numerator = 0.0;
      double denominator = 0.0;
      for (int g = 0; g < traits_.groups(); ++g) {
        integers[g] = Integer(scales[g], unit, low(), high());
        const float scale = unit * static_cast<float>(integers[g]);
        ScaleFit fit;
        error += Fit(g, scale, &fit);
        if (fit.HasBetterScale()) {
          scales[g] = scale + fit.ScaleStep();
          energies[g] = fit.energy;
        }
        numerator += static_cast<double>(energies[g]) * integers[g] * scales[g];
        denominator += static_cast<double>(energies[g]) * integers[g] * integers[g];
      }
      if (error < *best) {
        *best = error;
        fields->d = unit;
        fields->scales = integers;
      }
      if (!(denominator > 0.0)) return;
      const float next = RoundToHalf(static_cast<float>(numerator / denominator));
      if (next == 0.0f || !std::isfinite(next)) return;
      unit = next;
    }
  }

  // The neighbours of every integer scale, with their own codes.
  void Polish(BlockFields* fields) const {
    for (int g = 0; g < traits_.groups(); ++g) {
      ScaleFit fit;
      const int16_t centre = fields->scales[g];
      float best = Fit(g, fields->d * static_cast<float>(centre), &fit);
      for (const int step : {-1, 1}) {
        const int integer = centre + step;
        if (integer < low() || integer > high()) continue;
        const float error = Fit(g, fields->d * static_cast<float>(integer), &fit);
        if (error < best) {
          best = error;
          fields->scales[g] = static_cast<int16_t>(integer);
        }
      }
    }
  }

  const Levels levels_;
};

// Types with minimums.
class AffineSearch : public BlockSearch {
 public:
  AffineSearch(std::span<const float> weights,
               std::span<const float> importance,
               const BlockTraits& traits)
      : BlockSearch(weights, importance, traits),
        max_code_(static_cast<float>(traits.codes - 1)),
        signed_minimum_(traits.largest_scale == 1) {}

  // One f16 scale and one f16 minimum.
  void SearchOne(BlockFields* fields) const {
    float best_error = kInfinity;
    for (const Candidate& candidate : Candidates(0)) {
      float scale = candidate.scale;
      float minimum = candidate.minimum;
      for (int round = 0; round <= kRefineRounds; ++round) {
        scale = RoundToHalf(scale);
        minimum = RoundToHalf(minimum);
        if (scale == 0.0f || !std::isfinite(scale) || !std::isfinite(minimum)) break;
        const AffineFit fit = FitAffine(weights_, importance_, scale, minimum, max_code_);
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
    float best_error = kInfinity;
    for (const float unit : units) {
      for (const float minimum_unit : minimum_units) {
        if (unit == 0.0f || (minimum_unit == 0.0f && minimum_unit != minimum_units[0])) continue;
        Refine(unit, minimum_unit, optima, fields, &best_error);
      }
    }
    if (best_error < kInfinity) Polish(fields);
  }

 private:
  struct Candidate {
    float error = kInfinity;
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
    const std::span<const float> group = Group(g);
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
    if (!(max_code_ / range < kInfinity)) return kept;
    const auto try_range = [&](float from, float to) {
      if (!signed_minimum_) from = std::min(from, 0.0f);
      if (!(from < to)) return kInfinity;
      const float scale = (to - from) / max_code_;
      const AffineFit fit = FitAffine(Group(g), Importance(g), scale, -from, max_code_);
      float scale_step = 0.0f;
      float minimum_step = 0.0f;
      if (!Move(fit, -from, &scale_step, &minimum_step)) return kInfinity;
      Candidate candidate{
          fit.ErrorAfter(scale_step, minimum_step), scale + scale_step, -from + minimum_step};
      const float error = candidate.error;
      for (Candidate& other : kept) {
        if (candidate.error < other.error) std::swap(candidate, other);
      }
      return error;
    };
    const float middle = (low + high) / 2.0f;
    float best_error = kInfinity;
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
    if (scale != 0.0f) return FitAffine(Group(g), Importance(g), scale, minimum, max_code_);
    AffineFit fit{};
    for (int i = 0; i < traits_.group; ++i) {
      const float v = importance_.empty() ? 1.0f : Importance(g)[i];
      const float d = Group(g)[i] + minimum;
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
    float best_error = kInfinity;
    for (const Candidate& candidate : Candidates(g)) {
      if (candidate.error == kInfinity || candidate.scale == 0.0f) continue;
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
    const int16_t nearest = Integer(optimum.scale, unit, 0, largest);
    float best = kInfinity;
    for (const int step : {0, -1, 1}) {
      const int integer = nearest + step;
      if (integer < 0 || integer > largest) continue;
      const float a = unit * static_cast<float>(integer) - optimum.scale;
      const float wanted = optimum.minimum + (fit.total > 0.0f ? fit.sum / fit.total * a : 0.0f);
      const int16_t rounded = Integer(wanted, minimum_unit, 0, largest);
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
        try_pair(scale + step, Integer(wanted, fields->dmin, 0, largest));
      }
    }
  }

  const float max_code_;
  const bool signed_minimum_;
};

// One bit: levels are -1 and 1, so codes are signs and the weighted mean magnitude is the best d.
void SearchSigns(std::span<const float> weights,
                 std::span<const float> importance,
                 BlockFields* fields) {
  double sum = 0.0;
  double total = 0.0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double v = importance.empty() ? 1.0 : static_cast<double>(importance[i]);
    sum += v * std::abs(weights[i]);
    total += v;
  }
  fields->d = RoundToHalf(static_cast<float>(sum / total));
}

// Powers of two around the one of round to nearest; the best is kept by the caller's comparison.
void SearchExponent(std::span<const float> weights,
                    std::span<const float> importance,
                    const BlockTraits& traits,
                    BlockFields* fields) {
  const float centre = fields->d;
  double best = SquaredError(weights, importance, traits, *fields);
  BlockFields tried = *fields;
  for (const float factor : {0.125f, 0.25f, 0.5f, 2.0f}) {
    tried.d = centre * factor;
    if (!(tried.d >= 0x1p-128f && tried.d <= 0x1p127f)) continue;
    RoundToFields(weights, traits, &tried);
    const double error = SquaredError(weights, importance, traits, tried);
    if (error < best) {
      best = error;
      *fields = tried;
    }
  }
}

}  // namespace

void SearchBlock(std::span<const float> weights,
                 std::span<const float> importance,
                 const BlockTraits& traits,
                 BlockFields* fields) {
  RoundBlock(weights, traits, fields);
  if (!std::isfinite(fields->d) || !std::isfinite(fields->dmin)) return;
  if (traits.kind == FormatKind::kMXFP4) return SearchExponent(weights, importance, traits, fields);
  const BlockFields rtn = *fields;
  if (traits.kind == FormatKind::kQ1_0) {
    SearchSigns(weights, importance, fields);
  } else if (traits.minimum) {
    const AffineSearch search(weights, importance, traits);
    traits.groups() == 1 ? search.SearchOne(fields) : search.SearchAll(fields);
  } else {
    const ScaleSearch search(weights, importance, traits);
    traits.groups() == 1 ? search.SearchOne(fields) : search.SearchAll(fields);
  }
  RoundToFields(weights, traits, fields);
  // The promise to be no worse is kept in double, on what is stored.
  if (!(SquaredError(weights, importance, traits, *fields) <
        SquaredError(weights, importance, traits, rtn))) {
    *fields = rtn;
  }
}

}  // namespace bitbudget
