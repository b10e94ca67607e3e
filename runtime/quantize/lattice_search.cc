#include "runtime/quantize/lattice_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "runtime/quantize/integer_grid.h"
#include "runtime/quantize/lattice_points.h"

namespace bitbudget {
namespace {

// Scales that are tried of a group, as parts of the widest, and how many of them with the codebook.
constexpr int kRatios = 20;
constexpr float kLargestRatio = 1.1f;
constexpr float kSmallestRatio = 0.3f;
constexpr int kFinalists = 2;
constexpr int kRefineRounds = 1;
constexpr int kBlockRounds = 3;
constexpr int kMaxGroup = 32;

float LargestLevel(const BlockTraits& traits) {
  return LatticePoints::Of(traits).magnitudes().back();
}

float LargestMagnitude(std::span<const float> weights) {
  float largest = 0;
  for (const float weight : weights) largest = std::max(largest, std::abs(weight));
  return largest;
}

// One group: its weights, and how much their errors count.
struct Group {
  std::span<const float> weights;
  std::array<float, kMaxGroup> importance;
  const BlockTraits& traits;
};

Group GroupOf(std::span<const float> weights,
              std::span<const float> importance,
              const BlockTraits& traits,
              int g) {
  Group group{weights.subspan(g * traits.group, traits.group), {}, traits};
  for (int i = 0; i < traits.group; ++i) {
    group.importance[i] = importance.empty() ? 1.0f : importance[g * traits.group + i];
  }
  return group;
}

// The nearest levels of a group at a scale, and their error in units of weights.
float Choose(const Group& group, float scale, int8_t* levels) {
  const LatticePoints& points = LatticePoints::Of(group.traits);
  const float inverse = scale == 0.0f ? 0.0f : 1.0f / scale;
  std::array<float, kMaxGroup> targets;
  for (int i = 0; i < group.traits.group; ++i) targets[i] = group.weights[i] * inverse;
  float error = 0;
  for (int from = 0; from < group.traits.group; from += points.unit()) {
    error += points.Nearest(std::span(targets).subspan(from, points.unit()),
                            std::span(group.importance).subspan(from, points.unit()),
                            {levels + from, static_cast<size_t>(points.unit())});
  }
  if (scale != 0.0f) return error * scale * scale;
  error = 0;
  for (int i = 0; i < group.traits.group; ++i) {
    error += group.importance[i] * group.weights[i] * group.weights[i];
  }
  return error;
}

// The scale of the least error for these levels; 0 where there is none above 0.
float BestScale(const Group& group, const int8_t* levels) {
  float product = 0;
  float square = 0;
  for (int i = 0; i < group.traits.group; ++i) {
    const auto level = static_cast<float>(levels[i]);
    product += group.importance[i] * group.weights[i] * level;
    square += group.importance[i] * level * level;
  }
  return square > 0 && product > 0 ? product / square : 0.0f;
}

// The error at a scale if every weight had the nearest of its type's levels, for ranking.
float ErrorOfLevels(const Group& group, float scale) {
  const std::span<const float> magnitudes = LatticePoints::Of(group.traits).magnitudes();
  const float inverse = 1.0f / scale;
  float error = 0;
  for (int i = 0; i < group.traits.group; ++i) {
    const float x = std::abs(group.weights[i]) * inverse;
    float level = magnitudes[0];
    for (size_t next = 1; next < magnitudes.size(); ++next) {
      const float border = (magnitudes[next - 1] + magnitudes[next]) / 2;
      level = x > border ? magnitudes[next] : level;
    }
    const float distance = x - level;
    error += group.importance[i] * distance * distance;
  }
  return error * scale * scale;
}

// The scale of the least error that is found for a group; `levels` are those of it.
float SearchScale(const Group& group, int8_t* levels) {
  const float widest = LargestMagnitude(group.weights) / LargestLevel(group.traits);
  if (!(widest > 0.0f) || !std::isfinite(1.0f / widest)) {
    Choose(group, 0.0f, levels);
    return 0.0f;
  }
  std::array<float, kRatios> errors;
  std::array<float, kRatios> scales;
  for (int i = 0; i < kRatios; ++i) {
    const float part = static_cast<float>(i) / static_cast<float>(kRatios - 1);
    scales[i] = widest * (kLargestRatio + part * (kSmallestRatio - kLargestRatio));
    errors[i] = ErrorOfLevels(group, scales[i]);
  }
  float best_error = std::numeric_limits<float>::infinity();
  float best = 0.0f;
  std::array<int8_t, kMaxGroup> tried;
  for (int finalist = 0; finalist < kFinalists; ++finalist) {
    const auto next = std::min_element(errors.begin(), errors.end()) - errors.begin();
    errors[next] = std::numeric_limits<float>::infinity();
    float scale = scales[next];
    for (int round = 0; round <= kRefineRounds && scale > 0.0f; ++round) {
      const float error = Choose(group, scale, tried.data());
      if (error < best_error) {
        best_error = error;
        best = scale;
        std::copy_n(tried.begin(), group.traits.group, levels);
      }
      const float fitted = BestScale(group, tried.data());
      if (fitted == scale) break;
      scale = fitted;
    }
  }
  return best;
}

// The odd integer nearest to scale / d.
int OddInteger(const BlockTraits& traits, float scale, float d) {
  if (d == 0.0f) return traits.smallest_scale;
  const float half = RoundEven(std::clamp((scale / d - 1.0f) / 2.0f, 0.0f, 1000.0f));
  return std::min(2 * static_cast<int>(half) + 1, traits.largest_scale);
}

void StoreLevels(const int8_t* levels, int count, int offset, uint8_t* codes) {
  for (int i = 0; i < count; ++i) codes[i] = static_cast<uint8_t>(levels[i] + offset);
}

}  // namespace

float StoredLatticeScale(const BlockTraits& traits, float d) {
  const auto denominator = static_cast<float>(traits.lattice->denominator);
  return RoundToHalf(d * denominator) / denominator;
}

void RoundToLattice(std::span<const float> weights,
                    std::span<const float> importance,
                    const BlockTraits& traits,
                    BlockFields* fields) {
  std::array<int8_t, kMaxGroup> levels;
  for (int g = 0; g < traits.groups(); ++g) {
    const Group group = GroupOf(weights, importance, traits, g);
    Choose(group, fields->d * static_cast<float>(fields->scales[g]), levels.data());
    StoreLevels(levels.data(), traits.group, traits.offset, &fields->codes[g * traits.group]);
  }
}

void RoundLatticeBlock(std::span<const float> weights,
                       const BlockTraits& traits,
                       BlockFields* fields) {
  fields->dmin = 0.0f;
  fields->minimums.fill(0);
  fields->scales.fill(1);
  const float largest_level = LargestLevel(traits);
  fields->d = StoredLatticeScale(
      traits, LargestMagnitude(weights) / largest_level / static_cast<float>(traits.largest_scale));
  if (!std::isfinite(fields->d)) return;
  for (int g = 0; g < traits.groups(); ++g) {
    const float largest = LargestMagnitude(weights.subspan(g * traits.group, traits.group));
    fields->scales[g] =
        static_cast<int16_t>(OddInteger(traits, largest / largest_level, fields->d));
  }
  RoundToLattice(weights, {}, traits, fields);
}

void SearchLatticeBlock(std::span<const float> weights,
                        std::span<const float> importance,
                        const BlockTraits& traits,
                        BlockFields* fields) {
  std::array<float, kMaxBlockGroups> scales{};
  std::array<int8_t, kMaxGroup> levels;
  float largest = 0;
  for (int g = 0; g < traits.groups(); ++g) {
    scales[g] = SearchScale(GroupOf(weights, importance, traits, g), levels.data());
    largest = std::max(largest, scales[g]);
  }
  float d = StoredLatticeScale(traits, largest / static_cast<float>(traits.largest_scale));
  if (!(d > 0.0f) || !std::isfinite(d)) return;  // as rounded
  float best_error = std::numeric_limits<float>::infinity();
  BlockFields tried = *fields;
  for (int round = 0; round < kBlockRounds; ++round) {
    tried.d = d;
    float error = 0;
    double product = 0;
    double square = 0;
    for (int g = 0; g < traits.groups(); ++g) {
      const Group group = GroupOf(weights, importance, traits, g);
      // The neighbours of the nearest integer once: later rounds move d a little.
      const int centre = round == 0 ? OddInteger(traits, scales[g], d) : tried.scales[g];
      const int around = round == 0 ? 2 : 0;
      float group_error = std::numeric_limits<float>::infinity();
      for (int integer = std::max(centre - around, traits.smallest_scale);
           integer <= std::min(centre + around, traits.largest_scale);
           integer += 2) {
        const float found = Choose(group, d * static_cast<float>(integer), levels.data());
        if (!(found < group_error)) continue;
        group_error = found;
        tried.scales[g] = static_cast<int16_t>(integer);
        StoreLevels(levels.data(), traits.group, traits.offset, &tried.codes[g * traits.group]);
      }
      error += group_error;
      for (int i = 0; i < traits.group; ++i) {
        const int code = tried.codes[g * traits.group + i];
        const double level = static_cast<double>(traits.Level(code)) * tried.scales[g];
        product += static_cast<double>(group.importance[i]) * group.weights[i] * level;
        square += static_cast<double>(group.importance[i]) * level * level;
      }
    }
    if (!(error < best_error)) break;
    best_error = error;
    *fields = tried;
    if (!(product > 0) || !(square > 0)) break;
    const float next = StoredLatticeScale(traits, static_cast<float>(product / square));
    if (next == d || !(next > 0.0f) || !std::isfinite(next)) break;
    d = next;
  }
}

}  // namespace bitbudget
