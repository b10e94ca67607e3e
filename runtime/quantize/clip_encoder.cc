#include "runtime/quantize/clip_encoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <utility>

#include "runtime/quantize/block_search.h"
#include "runtime/quantize/grid_fit.h"
#include "runtime/quantize/groupwise_encoder.h"
#include "runtime/quantize/integer_grid.h"

namespace bitbudget {
namespace {

// How finely ranges are tried. Four bits gain by clipping a lot, fewer bits by clipping more; eight
// bits gain little from clipping but something from a scale whose steps happen to fit, so their
// grid is fine and near 1. docs/formats.md, "Encoders", has what each choice bought.
constexpr int kMostSteps = 28;
struct SearchGrid {
  // Clip ratios from `largest` (above 1 where few levels lie so far apart that their ends should
  // lie outside) down to `smallest`.
  constexpr SearchGrid(int steps, float largest, float smallest, int ends, float width)
      : steps(steps), end_steps(ends), end_width(width) {
    for (int i = 0; i < steps; ++i) {
      ratios[i] =
          largest - (largest - smallest) * static_cast<float>(i) / static_cast<float>(steps - 1);
    }
  }

  int steps;
  std::array<float, kMostSteps> ratios{};
  int end_steps;    // zero point: steps in and out for each end of the best range
  float end_width;  // ratio per such step
};
constexpr SearchGrid kTwoBit(28, 1.50f, 0.10f, 5, 0.08f);
constexpr SearchGrid kThreeBit(26, 1.20f, 0.25f, 4, 0.08f);
constexpr SearchGrid kFourBit(20, 1.00f, 0.40f, 3, 0.08f);
constexpr SearchGrid kEightBit(20, 1.00f, 0.90f, 3, 0.01f);

const SearchGrid& GridOf(int bits) {
  switch (bits) {
    case 2:
      return kTwoBit;
    case 3:
      return kThreeBit;
    case 4:
      return kFourBit;
    default:
      return kEightBit;
  }
}

// One group's search. Grids are ranked by the error that they would have with their least-squares
// scale; the best few are then refined with scales as f16 stores them.
class RangeSearch {
 public:
  RangeSearch(std::span<const float> weights,
              std::span<const float> importance,
              const Format& format)
      : weights_(weights),
        importance_(importance),
        max_code_((1 << format.bits) - 1),
        search_(GridOf(format.bits)) {}

  // The range-spanning scale and all smaller ones, with both signs: code 0 lies one step further
  // out than the largest code, and a negative scale gives that step to the positive weights.
  void TrySymmetric(int zero) {
    const auto [low, high] = Range();
    const float widest = std::max(-low, high) / static_cast<float>(max_code_ - zero);
    Trials trials;
    for (int step = 0; step < search_.steps; ++step) {
      const float scale = widest * search_.ratios[step];
      trials.Add(scale, static_cast<float>(-zero));
      trials.Add(-scale, static_cast<float>(-zero));
    }
    Rank(&trials);
  }

  // Both ends shrunk together, then each end moved alone from the best of those.
  void TryZeroPoint() {
    Ends best = Range();
    float best_error = std::numeric_limits<float>::infinity();
    const auto try_ranges = [&](std::span<const Ends> ranges) {
      Trials trials;
      for (const Ends& range : ranges) {
        const float scale = (range.high - range.low) / static_cast<float>(max_code_);
        const float zero = std::clamp(-range.low / scale, 0.0f, static_cast<float>(max_code_));
        trials.Add(scale, -RoundEven(zero));
      }
      Rank(&trials);
      for (size_t i = 0; i < ranges.size(); ++i) {
        if (!(trials.errors[i] < best_error)) continue;
        best_error = trials.errors[i];
        best = ranges[i];
      }
    };
    std::array<Ends, kMostSteps> ranges;
    for (int step = 0; step < search_.steps; ++step) {
      const float ratio = search_.ratios[step];
      ranges[step] = {best.low * ratio, best.high * ratio};
    }
    try_ranges(std::span(ranges).first(search_.steps));
    for (float Ends::*const end : {&Ends::low, &Ends::high}) {
      int count = 0;
      for (int step = -search_.end_steps; step <= search_.end_steps; ++step) {
        if (step == 0) continue;
        ranges[count] = best;
        ranges[count++].*end *= 1.0f + search_.end_width * static_cast<float>(step);
      }
      try_ranges(std::span(ranges).first(count));
    }
  }

  // Returns `start`, or a grid with a smaller error (up to float rounding of the sums).
  IntegerGrid Refine(const IntegerGrid& start) const {
    IntegerGrid best = start;
    float best_error = FitSteps(weights_, importance_, StepsOf(start)).error;
    for (const Candidate& candidate : finalists_) {
      float scale = candidate.scale;
      for (int round = 0; round < kRefineRounds; ++round) {
        scale = RoundToHalf(scale);
        if (scale == 0.0f || !std::isfinite(scale)) break;
        const IntegerGrid grid = {scale, candidate.zero};
        const ScaleFit fit = FitSteps(weights_, importance_, StepsOf(grid));
        if (fit.error < best_error) {
          best_error = fit.error;
          best = grid;
        }
        if (!fit.HasBetterScale()) break;
        scale += fit.ScaleStep();
      }
    }
    return best;
  }

 private:
  static constexpr int kFinalists = 2;
  static constexpr int kRefineRounds = 2;
  struct Candidate {
    float error = std::numeric_limits<float>::infinity();
    float scale = 0.0f;
    int zero = 0;
  };

  struct Ends {
    float low = 0.0f;
    float high = 0.0f;
  };

  Ends Range() const {
    auto [low, high] = Ends();
    for (const float weight : weights_) {
      low = std::min(low, weight);
      high = std::max(high, weight);
    }
    return {low, high};
  }

  StepGrid StepsOf(const IntegerGrid& grid) const {
    return {grid.scale, static_cast<float>(-grid.zero), static_cast<float>(max_code_ - grid.zero)};
  }

  // Grids, and what RankSteps makes of them.
  struct Trials {
    void Add(float scale, float low) {
      scales[count] = scale;
      lows[count++] = low;
    }
    std::array<float, 2 * kMostSteps> scales, lows, best_scales, errors;
    size_t count = 0;
  };

  void Rank(Trials* trials) {
    const size_t count = trials->count;
    RankSteps(weights_,
              importance_,
              {std::span(trials->scales).first(count),
               std::span(trials->lows).first(count),
               static_cast<float>(max_code_)},
              std::span(trials->best_scales).first(count),
              std::span(trials->errors).first(count));
    for (size_t i = 0; i < count; ++i) {
      if (!(trials->errors[i] < finalists_.back().error)) continue;
      Candidate candidate{
          trials->errors[i], trials->best_scales[i], -static_cast<int>(trials->lows[i])};
      for (Candidate& kept : finalists_) {
        if (candidate.error < kept.error) std::swap(candidate, kept);
      }
    }
  }

  std::span<const float> weights_;
  std::span<const float> importance_;
  int max_code_;
  const SearchGrid& search_;
  std::array<Candidate, kFinalists> finalists_;  // best first
};

class ClipEncoder final : public GroupwiseEncoder {
 public:
  // The search is the same: GroupwiseEncoder gives importance where moments are needed.
  ClipEncoder(absl::string_view name, StatsNeed needs) : name_(name), needs_(needs) {}
  absl::string_view name() const override { return name_; }
  StatsNeed needs() const override { return needs_; }

 protected:
  void EncodeGroup(std::span<const float> weights,
                   std::span<const float> importance,
                   const Format& format,
                   std::span<uint8_t> codes,
                   float* scale,
                   int* zero) const override {
    const IntegerGrid rtn = RangeGrid(weights, format);
    *scale = rtn.scale;
    *zero = rtn.zero;
    if (!std::isfinite(rtn.scale)) return;
    RoundToGrid(weights, rtn, format, codes);
    if (rtn.scale == 0.0f) return;

    RangeSearch search(weights, importance, format);
    if (format.zero_point) {
      search.TryZeroPoint();
    } else {
      search.TrySymmetric(rtn.zero);
    }
    const IntegerGrid best = search.Refine(rtn);

    // The promise to be no worse than RTN is kept in double, on the codes that are stored.
    const double rtn_error = SquaredError(weights, importance, rtn, codes);
    RoundToGrid(weights, best, format, codes);
    if (SquaredError(weights, importance, best, codes) < rtn_error) {
      *scale = best.scale;
      *zero = best.zero;
    } else {
      RoundToGrid(weights, rtn, format, codes);
    }
  }

  void EncodeBlock(std::span<const float> weights,
                   std::span<const float> importance,
                   const BlockTraits& traits,
                   BlockFields* fields) const override {
    SearchBlock(weights, importance, traits, fields);
  }

 private:
  const absl::string_view name_;
  const StatsNeed needs_;
};

}  // namespace

std::unique_ptr<Encoder> MakeClipEncoder() {
  return std::make_unique<ClipEncoder>("clip", StatsNeed::kNothing);
}

std::unique_ptr<Encoder> MakeImatrixEncoder() {
  return std::make_unique<ClipEncoder>("imatrix", StatsNeed::kMoments);
}

}  // namespace bitbudget
