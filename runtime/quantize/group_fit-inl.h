#ifndef BITBUDGET_RUNTIME_QUANTIZE_GROUP_FIT_INL_H_
#define BITBUDGET_RUNTIME_QUANTIZE_GROUP_FIT_INL_H_

// The fits of group_fit.h and what searches make of them, for files that are compiled once for
// every instruction set (lanes.h). Vectors are passed by address: how they are passed by value
// depends on the set.

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "runtime/quantize/group_fit.h"
#include "runtime/quantize/integer_grid.h"
#include "runtime/quantize/lanes.h"
#include "runtime/quantize/level_table.h"

namespace bitbudget::internal {
namespace {

template <typename Vector>
BITBUDGET_INLINE void LoadLanes(const void* from, Vector* out) {
  std::memcpy(out, from, sizeof(*out));
}
// The lanes of the other groups become 0.
template <typename Vector>
BITBUDGET_INLINE void StoreLanes(const Vector& lanes, PerGroup* to) {
  if constexpr (sizeof(Vector) < sizeof(PerGroup)) std::memset(to, 0, sizeof(*to));
  std::memcpy(to, &lanes, sizeof(lanes));
}

template <typename Vector>
BITBUDGET_INLINE void InverseOf(const Vector& scale, Vector* inverse) {
  *inverse = scale != 0.0f ? 1.0f / scale : Vector{};
}

// Places that are looked at together, so that what a table needs is loaded once for all of them.
constexpr int kPlaces = 4;

// Sums over the levels that `nearest` chooses for kPlaces vectors of w / scale, in place.
template <bool kWeighted, typename Vector, typename Nearest>
BITBUDGET_INLINE void FitScales(const TurnedBlock& block,
                                const PerGroup& scales,
                                const Nearest& nearest,
                                GroupScaleFits* fits) {
  Vector scale, inverse;
  LoadLanes(&scales, &scale);
  InverseOf(scale, &inverse);
  Vector error{};
  Vector cross{};
  Vector energy{};
  Vector w[kPlaces];
  Vector q[kPlaces];
  Vector v;
  for (int i = 0; i < block.size(); i += kPlaces) {
    BITBUDGET_UNROLL
    for (int j = 0; j < kPlaces; ++j) {
      LoadLanes(block.weights(i + j), &w[j]);
      q[j] = w[j] * inverse;
    }
    nearest(q);
    BITBUDGET_UNROLL
    for (int j = 0; j < kPlaces; ++j) {
      if constexpr (kWeighted) LoadLanes(block.importance(i + j), &v);
      const Vector d = w[j] - q[j] * scale;
      const Vector vd = kWeighted ? v * d : d;
      error += vd * d;
      cross += q[j] * vd;
      energy += (kWeighted ? v * q[j] : q[j]) * q[j];
    }
  }
  StoreLanes(error, &fits->error);
  StoreLanes(scale != 0.0f ? cross : Vector{}, &fits->cross);
  StoreLanes(scale != 0.0f ? energy : Vector{}, &fits->energy);
}

template <bool kWeighted, typename Vector>
BITBUDGET_INLINE void StepsBody(
    const TurnedBlock& block, const PerGroup& scales, float low, float high, GroupScaleFits* fits) {
  const Vector lowest = Vector{} + low;
  const Vector highest = Vector{} + high;
  FitScales<kWeighted, Vector>(
      block,
      scales,
      [&](Vector * q) __attribute__((always_inline)) {
        BITBUDGET_UNROLL
        for (int j = 0; j < kPlaces; ++j) {
          q[j] = q[j] > lowest ? q[j] : lowest;
          q[j] = q[j] < highest ? q[j] : highest;
          q[j] = (q[j] + kRound) - kRound;
        }
      },
      fits);
}

template <bool kWeighted, typename Vector>
BITBUDGET_INLINE void LevelsBody(const TurnedBlock& block,
                                 const PerGroup& scales,
                                 const LevelTable& table,
                                 GroupScaleFits* fits) {
  FitScales<kWeighted, Vector>(
      block,
      scales,
      [&](Vector * q) __attribute__((always_inline)) {
        Vector level[kPlaces];
        BITBUDGET_UNROLL
        for (int j = 0; j < kPlaces; ++j) level[j] = Vector{} + table.lowest();
        for (const LevelTable::Border& border : table.borders()) {
          const Vector step = Vector{} + border.step;
          BITBUDGET_UNROLL
          for (int j = 0; j < kPlaces; ++j) level[j] += q[j] >= border.value ? step : Vector{};
        }
        BITBUDGET_UNROLL
        for (int j = 0; j < kPlaces; ++j) q[j] = level[j];
      },
      fits);
}

// BestMove and ErrorAfter (grid_fit.h), kept from minimums below 0.
template <typename Vector>
BITBUDGET_INLINE void MoveLanes(const Vector& minimum, GroupAffineFits* fits) {
  constexpr size_t kCount = sizeof(Vector) / sizeof(float);
  typedef double Wide __attribute__((vector_size(8 * kCount)));
  Vector error, cross, residual, energy, sum, total;
  LoadLanes(&fits->error, &error);
  LoadLanes(&fits->cross, &cross);
  LoadLanes(&fits->residual, &residual);
  LoadLanes(&fits->energy, &energy);
  LoadLanes(&fits->sum, &sum);
  LoadLanes(&fits->total, &total);
  const Wide wide_cross = __builtin_convertvector(cross, Wide);
  const Wide wide_residual = __builtin_convertvector(residual, Wide);
  const Wide wide_energy = __builtin_convertvector(energy, Wide);
  const Wide wide_sum = __builtin_convertvector(sum, Wide);
  const Wide wide_total = __builtin_convertvector(total, Wide);
  const Wide product = wide_energy * wide_total;
  const Wide determinant = product - wide_sum * wide_sum;
  const Wide least = 1e-6 * product;
  const Wide inverse = 1.0 / determinant;
  const Wide a = (wide_cross * wide_total - wide_residual * wide_sum) * inverse;
  const Wide b = (wide_cross * wide_sum - wide_residual * wide_energy) * inverse;
  // Where all codes are equal the minimum moves alone.
  const Wide alone = __builtin_convertvector(-residual / total, Wide);
  const Wide wide_scale_step = determinant > least ? a : Wide{};
  const Wide wide_minimum_step = determinant > least ? b : alone;
  Vector scale_step = __builtin_convertvector(wide_scale_step, Vector);
  Vector minimum_step = __builtin_convertvector(wide_minimum_step, Vector);
  // The best scale for a minimum of 0: energy a = cross + sum b.
  const Vector moved = minimum + minimum_step;
  const Vector with_none = energy > 0.0f ? (cross - sum * minimum) / energy : Vector{};
  scale_step = moved < 0.0f ? with_none : scale_step;
  minimum_step = moved < 0.0f ? -minimum : minimum_step;
  scale_step = total > 0.0f ? scale_step : Vector{};
  minimum_step = total > 0.0f ? minimum_step : Vector{};
  const Vector after = error + (energy * scale_step - 2.0f * cross) * scale_step +
                       (total * minimum_step + 2.0f * residual) * minimum_step -
                       2.0f * sum * scale_step * minimum_step;
  const Vector none = Vector{} + std::numeric_limits<float>::infinity();
  StoreLanes(scale_step, &fits->scale_step);
  StoreLanes(minimum_step, &fits->minimum_step);
  StoreLanes(total > 0.0f ? after : none, &fits->moved_error);
}

template <bool kWeighted, typename Vector>
BITBUDGET_INLINE void AffineBody(const TurnedBlock& block,
                                 const PerGroup& scales,
                                 const PerGroup& minimums,
                                 float max_code,
                                 GroupAffineFits* fits) {
  Vector scale, minimum, inverse;
  LoadLanes(&scales, &scale);
  LoadLanes(&minimums, &minimum);
  InverseOf(scale, &inverse);
  const Vector highest = Vector{} + max_code;
  Vector error{};
  Vector cross{};
  Vector residual{};
  Vector energy{};
  Vector sum{};
  Vector total{};
  Vector w;
  Vector v = Vector{} + 1.0f;
  for (int i = 0; i < block.size(); ++i) {
    LoadLanes(block.weights(i), &w);
    if constexpr (kWeighted) LoadLanes(block.importance(i), &v);
    const Vector shifted = w + minimum;
    Vector q = shifted * inverse;
    q = q > 0.0f ? q : Vector{};
    q = q < highest ? q : highest;
    q = (q + kRound) - kRound;
    const Vector d = shifted - q * scale;
    const Vector vd = kWeighted ? v * d : d;
    const Vector vq = kWeighted ? v * q : q;
    error += vd * d;
    cross += q * vd;
    residual += vd;
    energy += vq * q;
    sum += vq;
    total += v;
  }
  StoreLanes(error, &fits->error);
  StoreLanes(cross, &fits->cross);
  StoreLanes(residual, &fits->residual);
  StoreLanes(energy, &fits->energy);
  StoreLanes(sum, &fits->sum);
  StoreLanes(total, &fits->total);
  MoveLanes(minimum, fits);
}

#define BITBUDGET_BY_SHAPE(body, ...)                                            \
  const bool few = block.groups() <= static_cast<int>(kLanes);                   \
  if (block.weighted()) {                                                        \
    few ? body<true, Lanes>(__VA_ARGS__) : body<true, ManyLanes>(__VA_ARGS__);   \
  } else {                                                                       \
    few ? body<false, Lanes>(__VA_ARGS__) : body<false, ManyLanes>(__VA_ARGS__); \
  }

// Levels are the integers from `low` to `high`, or those of a table. A group of scale 0 has code or
// level 0.
#define BITBUDGET_FITS(name, attributes)                                           \
  struct name##Fits {                                                              \
    attributes static void Steps(const TurnedBlock& block,                         \
                                 const PerGroup& scales,                           \
                                 float low,                                        \
                                 float high,                                       \
                                 GroupScaleFits* fits){                            \
        BITBUDGET_BY_SHAPE(StepsBody, block, scales, low, high, fits)} attributes  \
        static void Levels(const TurnedBlock& block,                               \
                           const PerGroup& scales,                                 \
                           const LevelTable& table,                                \
                           GroupScaleFits* fits){                                  \
            BITBUDGET_BY_SHAPE(LevelsBody, block, scales, table, fits)} attributes \
        static void Affine(const TurnedBlock& block,                               \
                           const PerGroup& scales,                                 \
                           const PerGroup& minimums,                               \
                           float max_code,                                         \
                           GroupAffineFits* fits) {                                \
      BITBUDGET_BY_SHAPE(AffineBody, block, scales, minimums, max_code, fits)      \
    }                                                                              \
  }
BITBUDGET_FOR_EVERY_SET(BITBUDGET_FITS);

// The integers from `smallest` to `largest` that are nearest to value / unit; 0 for a unit of 0.
BITBUDGET_INLINE void NearestMultiples(
    const PerGroup& values, float unit, int smallest, int largest, PerGroup* integers) {
  const PerGroup low = PerGroup{} + static_cast<float>(smallest);
  const PerGroup high = PerGroup{} + static_cast<float>(largest);
  PerGroup nearest = unit != 0.0f ? values * (1.0f / unit) : PerGroup{};
  nearest = nearest > low ? nearest : low;
  nearest = nearest < high ? nearest : high;
  *integers = (nearest + kRound) - kRound;
}

BITBUDGET_INLINE float SumGroups(const PerGroup& values) {
  Lanes low, high;
  std::memcpy(&low, &values, sizeof(low));
  std::memcpy(&high, reinterpret_cast<const char*>(&values) + sizeof(low), sizeof(high));
  return SumLanes(low + high);
}

// The f16 units (d or dmin) that approximate values of groups best by integers from `smallest` to
// `largest`, best first, 0 where there is none. A deviation costs sum curvature (value - unit *
// integer)^2. Only units are tried that give the largest value an integer near the largest; with
// integers of both signs, near either end.
BITBUDGET_INLINE std::array<float, kFinalists> BestUnits(const PerGroup& values,
                                                         const PerGroup& curvatures,
                                                         int smallest,
                                                         int largest) {
  std::array<float, kFinalists> units{};
  std::array<float, kFinalists> costs;
  costs.fill(kInfiniteError);
  float end = 0.0f;
  for (int g = 0; g < kMaxBlockGroups; ++g) {
    if (std::abs(values[g]) > std::abs(end)) end = values[g];
  }
  const auto try_unit = [&](float unit) __attribute__((always_inline)) {
    unit = RoundToHalf(unit);
    if (unit == 0.0f || !std::isfinite(unit)) return;
    PerGroup integers;
    NearestMultiples(values, unit, smallest, largest, &integers);
    const PerGroup deviation = values - unit * integers;
    float cost = SumGroups(curvatures * deviation * deviation);
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

BITBUDGET_INLINE void ToIntegers(const PerGroup& values,
                                 std::array<int16_t, kMaxBlockGroups>* integers) {
  for (int g = 0; g < kMaxBlockGroups; ++g) (*integers)[g] = static_cast<int16_t>(values[g]);
}

// Of the first `groups` groups.
BITBUDGET_INLINE void FromIntegers(const std::array<int16_t, kMaxBlockGroups>& integers,
                                   int groups,
                                   PerGroup* values) {
  *values = PerGroup{};
  for (int g = 0; g < groups; ++g) (*values)[g] = integers[g];
}

}  // namespace
}  // namespace bitbudget::internal

#endif  // BITBUDGET_RUNTIME_QUANTIZE_GROUP_FIT_INL_H_
