#include "runtime/quantize/block_rtn.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

#include "runtime/quantize/integer_grid.h"
#include "runtime/quantize/lanes.h"
#include "runtime/quantize/lattice_search.h"
#include "runtime/quantize/level_table.h"

namespace bitbudget {
namespace {

using internal::kLanes;
using internal::kRound;
using internal::Lanes;
typedef int32_t IntLanes __attribute__((vector_size(4 * kLanes)));

// The level that the weight of the largest magnitude gets.
int EndLevel(const BlockTraits& traits) {
  switch (traits.kind) {
    case FormatKind::kQ8_0:
      return 127;  // one step of 256 is not worth a negative scale
    case FormatKind::kTQ1_0:
    case FormatKind::kTQ2_0:
      return 1;
    case FormatKind::kQ2_0:
      return 2;
    case FormatKind::kMXFP4:
      return 12;
    default:
      return traits.Level(0);
  }
}

// In ternary types the code for level 2 stays unused.
int LargestCode(const BlockTraits& traits) {
  return traits.kind == FormatKind::kTQ2_0 ? 2 : traits.codes - 1;
}

// The smallest and the largest of the values, which are whole lanes.
BITBUDGET_INLINE void RangeBody(std::span<const float> values, float* smallest, float* largest) {
  Lanes low;
  std::memcpy(&low, values.data(), sizeof(low));
  Lanes high = low;
  for (size_t i = kLanes; i < values.size(); i += kLanes) {
    Lanes next;
    std::memcpy(&next, &values[i], sizeof(next));
    low = next < low ? next : low;
    high = next > high ? next : high;
  }
  *smallest = low[0];
  *largest = high[0];
  for (size_t lane = 1; lane < kLanes; ++lane) {
    *smallest = std::min(*smallest, low[lane]);
    *largest = std::max(*largest, high[lane]);
  }
}

// The codes of weights, whole lanes, on evenly spaced levels: (weight + minimum) / scale is level
// step * code - offset.
struct StepCodes {
  float scale;
  float minimum;
  float offset;
  float step;
  float largest;
};
BITBUDGET_INLINE void CodesBody(std::span<const float> weights,
                                const StepCodes& grid,
                                uint8_t* codes) {
  for (size_t i = 0; i < weights.size(); i += kLanes) {
    Lanes level;
    std::memcpy(&level, &weights[i], sizeof(level));
    level = grid.scale == 0.0f ? Lanes{} : (level + grid.minimum) / grid.scale;
    Lanes code = (level + grid.offset) / grid.step;
    code = code > 0.0f ? code : Lanes{};
    code = code < grid.largest ? code : Lanes{} + grid.largest;
    code = (code + kRound) - kRound;
    const IntLanes integers = __builtin_convertvector(code, IntLanes);
    for (size_t lane = 0; lane < kLanes; ++lane) {
      codes[i + lane] = static_cast<uint8_t>(integers[lane]);
    }
  }
}

struct Bodies {
  void (*range)(std::span<const float>, float*, float*);
  void (*codes)(std::span<const float>, const StepCodes&, uint8_t*);
};
#define BITBUDGET_BODIES(name, attributes)                                                 \
  struct name {                                                                            \
    attributes static void Range(std::span<const float> values, float* low, float* high) { \
      RangeBody(values, low, high);                                                        \
    }                                                                                      \
    attributes static void Codes(std::span<const float> weights,                           \
                                 const StepCodes& grid,                                    \
                                 uint8_t* codes) {                                         \
      CodesBody(weights, grid, codes);                                                     \
    }                                                                                      \
    static constexpr Bodies kBodies{Range, Codes};                                         \
  }
BITBUDGET_FOR_EVERY_SET(BITBUDGET_BODIES);

std::vector<const Bodies*> Available() { return BITBUDGET_RUNNABLE(kBodies); }

const Bodies& Chosen() {
  static const Bodies& fastest = *Available().back();
  return fastest;
}

std::pair<float, float> Range(std::span<const float> values) {
  float low;
  float high;
  Chosen().range(values, &low, &high);
  return {low, high};
}

// The first value of the largest magnitude; 0 where all are 0.
float SignedMax(std::span<const float> values) {
  float largest = 0.0f;
  for (const float value : values) {
    if (std::abs(value) > std::abs(largest)) largest = value;
  }
  return largest;
}

float SignedMaxOfLanes(std::span<const float> values) {
  const auto [low, high] = Range(values);
  if (-low != high) return -low > high ? low : high;
  return SignedMax(values);
}

// The smallest power of two for which rounding does not clip by more than half a step: the levels
// of E2M1 end at 12, after steps of 4.
float PowerOfTwoScale(float largest) {
  if (largest == 0.0f) return 0x1p-128f;
  const float scale = std::exp2(std::ceil(std::log2(largest / 14.0f)));
  return std::clamp(scale, 0x1p-128f, 0x1p127f);
}

}  // namespace

void RoundBlock(std::span<const float> weights, const BlockTraits& traits, BlockFields* fields) {
  if (traits.lattice != nullptr) return RoundLatticeBlock(weights, traits, fields);
  CHECK_EQ(static_cast<int>(weights.size()), traits.block);
  std::array<float, kMaxBlockGroups> scales{};
  std::array<float, kMaxBlockGroups> minimums{};
  for (int g = 0; g < traits.groups(); ++g) {
    const std::span<const float> group = weights.subspan(g * traits.group, traits.group);
    if (traits.minimum) {
      const auto [low, high] = Range(group);
      const float from = traits.largest_scale > 1 ? std::min(low, 0.0f) : low;
      scales[g] = (high - from) / static_cast<float>(traits.codes - 1);
      minimums[g] = -from;
    } else if (traits.kind == FormatKind::kQ1_0) {
      // Levels are -1 and 1: the mean magnitude has the least squared error.
      double sum = 0.0;
      for (const float weight : group) sum += std::abs(weight);
      scales[g] = static_cast<float>(sum / static_cast<double>(traits.group));
    } else {
      const float largest = SignedMaxOfLanes(group);
      const bool magnitude = traits.kind == FormatKind::kQ8_0 || traits.offset == 1;
      scales[g] = (magnitude && traits.kind != FormatKind::kQ2_0 ? std::abs(largest) : largest) /
                  static_cast<float>(EndLevel(traits));
    }
  }
  fields->scales.fill(1);
  fields->minimums.fill(traits.minimum ? 1 : 0);
  if (traits.kind == FormatKind::kMXFP4) {
    fields->d = PowerOfTwoScale(std::abs(SignedMax(weights)));
    fields->dmin = 0.0f;
  } else if (traits.largest_scale == 1) {
    fields->d = RoundToHalf(scales[0]);
    fields->dmin = RoundToHalf(minimums[0]);
  } else {
    const std::span<const float> used = std::span(scales).first(traits.groups());
    const int end = traits.smallest_scale < 0 ? traits.smallest_scale : traits.largest_scale;
    fields->d = RoundToHalf(SignedMax(used) / static_cast<float>(end));
    fields->dmin = RoundToHalf(*std::max_element(minimums.begin(), minimums.end()) /
                               static_cast<float>(traits.largest_scale));
    if (!std::isfinite(fields->d) || !std::isfinite(fields->dmin)) return;
    const auto integer = [&](float value, float unit, int smallest) {
      if (unit == 0.0f) return int16_t{0};
      return static_cast<int16_t>(std::lrint(std::clamp(
          value / unit, static_cast<float>(smallest), static_cast<float>(traits.largest_scale))));
    };
    for (int g = 0; g < traits.groups(); ++g) {
      fields->scales[g] = integer(scales[g], fields->d, traits.smallest_scale);
      fields->minimums[g] = integer(minimums[g], fields->dmin, 0);
    }
  }
  if (std::isfinite(fields->d) && std::isfinite(fields->dmin)) {
    RoundToFields(weights, traits, fields);
  }
}

void RoundToFields(std::span<const float> weights, const BlockTraits& traits, BlockFields* fields) {
  if (traits.lattice != nullptr) return RoundToLattice(weights, {}, traits, fields);
  const LevelTable* table = LevelTableOf(traits);
  const float offset = static_cast<float>(traits.offset);
  const float step = static_cast<float>(traits.step);
  const float largest = static_cast<float>(LargestCode(traits));
  for (int g = 0; g < traits.groups(); ++g) {
    const float scale = fields->d * static_cast<float>(fields->scales[g]);
    const float minimum = fields->dmin * static_cast<float>(fields->minimums[g]);
    const int first = g * traits.group;
    const std::span<const float> group = weights.subspan(first, traits.group);
    if (table == nullptr) {
      Chosen().codes(group, {scale, minimum, offset, step, largest}, &fields->codes[first]);
      continue;
    }
    for (int i = 0; i < traits.group; ++i) {
      const float level = scale == 0.0f ? 0.0f : (group[i] + minimum) / scale;
      fields->codes[first + i] = table->Code(level);
    }
  }
}

double SquaredError(std::span<const float> weights,
                    std::span<const float> importance,
                    const BlockTraits& traits,
                    const BlockFields& fields) {
  double sum = 0.0;
  for (int g = 0; g < traits.groups(); ++g) {
    const double scale = static_cast<double>(fields.d) * fields.scales[g];
    const double minimum = static_cast<double>(fields.dmin) * fields.minimums[g];
    for (int i = g * traits.group; i < (g + 1) * traits.group; ++i) {
      const double error = weights[i] - (traits.Level(fields.codes[i]) * scale - minimum);
      sum += (importance.empty() ? 1.0 : static_cast<double>(importance[i])) * error * error;
    }
  }
  return sum;
}

namespace internal {

bool RoundingsAgree(std::span<const float> weights, float scale, float minimum) {
  const auto round = [&](const Bodies& bodies) {
    float low;
    float high;
    std::vector<uint8_t> codes(weights.size());
    bodies.range(weights, &low, &high);
    bodies.codes(weights, {scale, minimum, 0, 1, 15}, codes.data());
    return std::tuple(low, high, codes);
  };
  const std::vector<const Bodies*> bodies = Available();
  return std::all_of(bodies.begin(), bodies.end(), [&](const Bodies* other) {
    return round(*other) == round(*bodies[0]);
  });
}

}  // namespace internal
}  // namespace bitbudget
