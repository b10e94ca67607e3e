#include "runtime/quantize/lattice_points.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "runtime/quantize/lanes.h"

namespace bitbudget {
namespace {

constexpr size_t kLanes = 2 * internal::kLanes;
using Lanes = internal::ManyLanes;
typedef int32_t IntLanes __attribute__((vector_size(4 * kLanes)));

struct Query {
  const float* values;   // [dims][points]
  const float* targets;  // [dims]
  const float* weights;  // [dims]
  int dims;
  int points;
  bool flipped;
};

// The point of the least error, the first of equals, and the error. A sign that is turned around
// costs weight ((target + value)^2 - (target - value)^2) = 4 weight target value.
BITBUDGET_INLINE void FindBody(const Query& q, float* error, int32_t* point) {
  Lanes best = Lanes{} + std::numeric_limits<float>::infinity();
  IntLanes at = {};
  IntLanes here;
  for (size_t lane = 0; lane < kLanes; ++lane) here[lane] = static_cast<int32_t>(lane);
  for (int p = 0; p < q.points; p += static_cast<int>(kLanes)) {
    Lanes sum = {};
    Lanes least = Lanes{} + std::numeric_limits<float>::infinity();
#pragma GCC unroll 8
    for (int dim = 0; dim < q.dims; ++dim) {
      Lanes value;
      std::memcpy(&value, q.values + dim * q.points + p, sizeof(value));
      const Lanes distance = value - q.targets[dim];
      sum += distance * distance * q.weights[dim];
      if (q.flipped) {
        const Lanes turned = value * (4.0f * q.weights[dim] * q.targets[dim]);
        least = turned < least ? turned : least;
      }
    }
    if (q.flipped) sum += least;
    const IntLanes better = sum < best;
    best = better ? sum : best;
    at = better ? here : at;
    here += static_cast<int32_t>(kLanes);
  }
  *error = best[0];
  *point = at[0];
  for (size_t lane = 1; lane < kLanes; ++lane) {
    if (best[lane] < *error || (best[lane] == *error && at[lane] < *point)) {
      *error = best[lane];
      *point = at[lane];
    }
  }
}

using Body = void (*)(const Query&, float*, int32_t*);
#define BITBUDGET_BODIES(name, attributes)                                          \
  struct name {                                                                     \
    attributes static void Find(const Query& query, float* error, int32_t* point) { \
      FindBody(query, error, point);                                                \
    }                                                                               \
    static constexpr Body kFind = Find;                                             \
  }
BITBUDGET_FOR_EVERY_SET(BITBUDGET_BODIES);

std::vector<const Body*> Available() { return BITBUDGET_RUNNABLE(kFind); }

Body Chosen() {
  static const Body fastest = *Available().back();
  return fastest;
}

// [dims][points].
std::vector<float> ValuesOf(const Lattice& lattice) {
  std::vector<float> values;
  for (int dim = 0; dim < lattice.dims; ++dim) {
    for (int point = 0; point < lattice.points; ++point) {
      values.push_back(static_cast<float>(lattice.Value(point, dim)));
    }
  }
  return values;
}

}  // namespace

const LatticePoints& LatticePoints::Of(const BlockTraits& traits) {
  static const std::vector<const LatticePoints*>* const all = [] {
    auto* made = new std::vector<const LatticePoints*>();
    for (int kind = static_cast<int>(FormatKind::kIQ1_S);
         kind <= static_cast<int>(FormatKind::kIQ3_S);
         ++kind) {
      made->push_back(new LatticePoints(BlockTraitsOf(static_cast<FormatKind>(kind))));
    }
    return made;
  }();
  CHECK(traits.lattice != nullptr) << traits.name;
  return *(*all)[static_cast<int>(traits.kind) - static_cast<int>(FormatKind::kIQ1_S)];
}

LatticePoints::LatticePoints(const BlockTraits& traits)
    : lattice_(*traits.lattice),
      unit_(traits.kind == FormatKind::kIQ1_S ? traits.group : kLatticeInputs),
      values_(ValuesOf(lattice_)) {}

LatticePoints::Best LatticePoints::Find(const float* targets,
                                        const float* weights,
                                        bool flipped) const {
  const Query query = {values_.data(), targets, weights, lattice_.dims, lattice_.points, flipped};
  Best best{0, 0, -1};
  int32_t point;
  Chosen()(query, &best.error, &point);
  best.point = point;
  if (!flipped) return best;
  float least = std::numeric_limits<float>::infinity();
  for (int dim = 0; dim < lattice_.dims; ++dim) {
    const float turned =
        static_cast<float>(lattice_.Value(point, dim)) * (4.0f * weights[dim] * targets[dim]);
    if (turned < least) {
      least = turned;
      best.flipped = dim;
    }
  }
  return best;
}

float LatticePoints::NearestEven(const float* targets, const float* weights, int8_t* levels) const {
  std::array<float, kLatticeInputs> magnitudes;
  bool odd = false;
  for (int i = 0; i < kLatticeInputs; ++i) {
    magnitudes[i] = std::abs(targets[i]);
    odd ^= std::signbit(targets[i]);
  }
  // An odd number of negative targets: one sign is turned around, in whichever part costs less.
  const int parts = kLatticeInputs / lattice_.dims;
  std::array<Best, 2> best;
  float error = 0;
  for (int part = 0; part < parts; ++part) {
    const int from = part * lattice_.dims;
    best[part] = Find(&magnitudes[from], weights + from, odd && parts == 1);
    error += best[part].error;
  }
  if (odd && parts == 2) {
    const std::array<Best, 2> flipped = {
        Find(&magnitudes[0], weights, true),
        Find(&magnitudes[lattice_.dims], weights + lattice_.dims, true)};
    const int part = flipped[0].error - best[0].error <= flipped[1].error - best[1].error ? 0 : 1;
    error += flipped[part].error - best[part].error;
    best[part] = flipped[part];
  }
  for (int i = 0; i < kLatticeInputs; ++i) {
    const Best& of = best[i / lattice_.dims];
    const int dim = i % lattice_.dims;
    const bool negative = std::signbit(targets[i]) != (of.flipped == dim);
    const int value = lattice_.Value(of.point, dim);
    levels[i] = static_cast<int8_t>(negative ? -value : value);
  }
  return error;
}

float LatticePoints::NearestFree(const float* targets, const float* weights, int8_t* levels) const {
  float error = 0;
  for (int from = 0; from < kLatticeInputs; from += lattice_.dims) {
    std::array<float, kLatticeInputs> magnitudes;
    for (int dim = 0; dim < lattice_.dims; ++dim) magnitudes[dim] = std::abs(targets[from + dim]);
    const Best best = Find(magnitudes.data(), weights + from, false);
    error += best.error;
    for (int dim = 0; dim < lattice_.dims; ++dim) {
      const int value = lattice_.Value(best.point, dim);
      levels[from + dim] = static_cast<int8_t>(std::signbit(targets[from + dim]) ? -value : value);
    }
  }
  return error;
}

float LatticePoints::NearestShifted(const float* targets,
                                    const float* weights,
                                    int shift,
                                    int8_t* levels) const {
  std::array<float, kLatticeInputs> moved;
  for (int i = 0; i < kLatticeInputs; ++i) {
    moved[i] = (targets[i] - static_cast<float>(shift)) / 8.0f;
  }
  const Best best = Find(moved.data(), weights, false);
  for (int i = 0; i < kLatticeInputs; ++i) {
    levels[i] = static_cast<int8_t>(8 * lattice_.Value(best.point, i) + shift);
  }
  return 64.0f * best.error;
}

float LatticePoints::Nearest(std::span<const float> targets,
                             std::span<const float> weights,
                             std::span<int8_t> levels) const {
  if (lattice_.signs == Lattice::Signs::kEven) {
    return NearestEven(targets.data(), weights.data(), levels.data());
  }
  if (lattice_.signs == Lattice::Signs::kFree) {
    return NearestFree(targets.data(), weights.data(), levels.data());
  }
  std::array<int8_t, 32> other;
  float error = 0;
  float other_error = 0;
  for (int from = 0; from < unit_; from += kLatticeInputs) {
    error += NearestShifted(&targets[from], &weights[from], 1, &levels[from]);
    other_error += NearestShifted(&targets[from], &weights[from], -1, &other[from]);
  }
  if (!(other_error < error)) return error;
  std::copy_n(other.begin(), unit_, levels.begin());
  return other_error;
}

namespace internal {

bool LatticeSearchesAgree(const Lattice& lattice,
                          std::span<const float> targets,
                          std::span<const float> weights) {
  const std::vector<float> values = ValuesOf(lattice);
  for (const bool flipped : {false, true}) {
    const Query query = {
        values.data(), targets.data(), weights.data(), lattice.dims, lattice.points, flipped};
    std::vector<std::pair<float, int32_t>> found;
    for (const Body* body : Available()) {
      auto& [error, point] = found.emplace_back();
      (*body)(query, &error, &point);
    }
    if (std::any_of(found.begin(), found.end(), [&](const auto& one) { return one != found[0]; })) {
      return false;
    }
  }
  return true;
}

}  // namespace internal
}  // namespace bitbudget
