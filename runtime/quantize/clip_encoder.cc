#include "runtime/quantize/clip_encoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
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
struct SearchGrid {
  int steps;      // clip ratios from `largest` down to `smallest`
  float largest;  // above 1 where few levels lie so far apart that their ends should lie outside
  float smallest;
  int end_steps;    // zero point: steps in and out for each end of the best range
  float end_width;  // ratio per such step
};
constexpr SearchGrid kTwoBit{28, 1.50f, 0.10f, 5, 0.08f};
constexpr SearchGrid kThreeBit{26, 1.20f, 0.25f, 4, 0.08f};
constexpr SearchGrid kFourBit{20, 1.00f, 0.40f, 3, 0.08f};
constexpr SearchGrid kEightBit{20, 1.00f, 0.90f, 3, 0.01f};

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
    for (int step = 0; step < search_.steps; ++step) {
      Try(widest * Ratio(step), zero);
      Try(-widest * Ratio(step), zero);
    }
  }

  // Both ends shrunk together, then each end moved alone from the best of those.
  void TryZeroPoint() {
    const auto [low, high] = Range();
    float best_error = std::numeric_limits<float>::infinity();
    float best_low = low;
    float best_high = high;
    const auto try_range = [&](float from, float to) {
      const float scale = (to - from) / static_cast<float>(max_code_);
      const float zero = std::clamp(-from / scale, 0.0f, static_cast<float>(max_code_));
      const float error = Try(scale, static_cast<int>(std::lrint(zero)));
      if (!(error < best_error)) return;
      best_error = error;
      best_low = from;
      best_high = to;
    };
    for (int step = 0; step < search_.steps; ++step) {
      try_range(low * Ratio(step), high * Ratio(step));
    }
    const float centre_low = best_low;
    for (int step = -search_.end_steps; step <= search_.end_steps; ++step) {
      if (step != 0) try_range(centre_low * EndRatio(step), best_high);
    }
    const float centre_high = best_high;
    for (int step = -search_.end_steps; step <= search_.end_steps; ++step) {
      if (step != 0) try_range(best_low, centre_high * EndRatio(step));
    }
  }

  // Returns `start`, or a grid with a smaller error (up to float rounding of the sums).
  IntegerGrid Refine(const IntegerGrid& start) const {
    IntegerGrid best = start;
    float best_error = FitGrid(start.scale, start.zero).error;
    for (const Candidate& candidate : finalists_) {
      float scale = candidate.scale;
      for (int round = 0; round < kRefineRounds; ++round) {
        scale = RoundToHalf(scale);
        if (scale == 0.0f || !std::isfinite(scale)) break;
        const ScaleFit fit = FitGrid(scale, candidate.zero);
        if (fit.error < best_error) {
          best_error = fit.error;
          best = {scale, candidate.zero};
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

  std::pair<float, float> Range() const {
    float low = 0.0f;
    float high = 0.0f;
    for (const float weight : weights_) {
      low = std::min(low, weight);
      high = std::max(high, weight);
    }
    return {low, high};
  }

  ScaleFit FitGrid(float scale, int zero) const {
    return FitSteps(weights_,
                    importance_,
                    scale,
                    static_cast<float>(-zero),
                    static_cast<float>(max_code_ - zero));
  }

  float Ratio(int step) const {
    return search_.largest - (search_.largest - search_.smallest) * static_cast<float>(step) /
                                 static_cast<float>(search_.steps - 1);
  }
  float EndRatio(int step) const { return 1.0f + search_.end_width * static_cast<float>(step); }

  // Ranks one grid; returns the error that it would have with its best scale.
  float Try(float scale, int zero) {
    const ScaleFit fit = FitGrid(scale, zero);
    if (!fit.HasBetterScale()) return std::numeric_limits<float>::infinity();
    Candidate candidate{fit.BestError(), scale + fit.ScaleStep(), zero};
    const float error = candidate.error;
    for (Candidate& kept : finalists_) {
      if (candidate.error < kept.error) std::swap(candidate, kept);
    }
    return error;
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
