#include "runtime/quantize/block_scale_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "runtime/quantize/grid_fit.h"
#include "runtime/quantize/integer_grid.h"
#include "runtime/quantize/level_table.h"

namespace bitbudget {
namespace {

// Few levels gain by clipping a lot, many by steps that happen to fit, so their ratios are near 1.
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

// The nearest levels of one type, by FitSteps or FitLevels.
class Levels {
 public:
  explicit Levels(const BlockTraits& traits)
      : low_(static_cast<float>(traits.Level(0))),
        high_(static_cast<float>(traits.Level(traits.codes - 1))),
        table_(LevelTableOf(traits)) {
    if (traits.kind == FormatKind::kTQ2_0) high_ = 1.0f;  // the code for level 2 stays unused
  }

  // The smaller of the ends: a scale that gives it to the largest weight clips nothing.
  float end() const { return std::min(-low_, high_); }
  bool symmetric() const { return -low_ == high_; }

  ScaleFit Fit(std::span<const float> weights,
               std::span<const float> importance,
               float scale) const {
    return table_ != nullptr ? FitLevels(weights, importance, scale, *table_)
                             : FitSteps(weights, importance, StepGrid{scale, low_, high_});
  }

 private:
  float low_;
  float high_;
  const LevelTable* table_;
};

class ScaleSearch {
 public:
  explicit ScaleSearch(const WeightedBlock& block)
      : block_(block), traits_(block.traits), levels_(block.traits) {}

  // One f16 scale.
  void SearchOne(BlockFields* fields) const {
    const std::array<Candidate, kFinalists> candidates = Candidates(0);
    float best_error = kInfiniteError;
    for (const Candidate& candidate : candidates) {
      float scale = candidate.scale;
      for (int round = 0; round <= kRefineRounds; ++round) {
        scale = RoundToHalf(scale);
        if (scale == 0.0f || !std::isfinite(scale)) break;
        const ScaleFit fit = levels_.Fit(block_.weights, block_.importance, scale);
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
    float best_error = kInfiniteError;
    for (const float unit : BestUnits(Used(scales), Used(energies), low(), high())) {
      if (unit != 0.0f) Refine(unit, scales, energies, fields, &best_error);
    }
    if (best_error < kInfiniteError) Polish(fields);
  }

 private:
  struct Candidate {
    float error = kInfiniteError;
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
    for (const float weight : block_.Group(g)) largest = std::max(largest, std::abs(weight));
    const float widest = largest / levels_.end();
    if (!(std::abs(1.0f / widest) < kInfiniteError)) return kept;
    const auto try_scale = [&](float scale) {
      const ScaleFit fit = levels_.Fit(block_.Group(g), block_.Importance(g), scale);
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
      const std::span<const float> group = block_.Group(g);
      for (int i = 0; i < traits_.group; ++i) {
        fit->error += block_.ImportanceOf(g, i) * group[i] * group[i];
      }
    } else {
      *fit = levels_.Fit(block_.Group(g), block_.Importance(g), scale);
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
        integers[g] = NearestMultiple(scales[g], unit, low(), high());
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

  const WeightedBlock& block_;
  const BlockTraits& traits_;
  const Levels levels_;
};

}  // namespace

void SearchScales(const WeightedBlock& block, BlockFields* fields) {
  const ScaleSearch search(block);
  block.traits.groups() == 1 ? search.SearchOne(fields) : search.SearchAll(fields);
}

}  // namespace bitbudget
