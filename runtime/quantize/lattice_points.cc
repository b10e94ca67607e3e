#include "runtime/quantize/lattice_points.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include "runtime/quantize/lanes.h"

namespace bitbudget {
namespace {

constexpr int kLanes = 2 * static_cast<int>(internal::kLanes);
using Lanes = internal::ManyLanes;
constexpr int kMaxHalves = 96;  // at most 81 are there, in whole lanes
constexpr float kInfinite = std::numeric_limits<float>::infinity();

struct Query {
  const LatticePoints::Halves& lattice;
  const float* targets;  // [dims]
  const float* weights;  // [dims]
  bool flipped;
};

// The errors of all first or second halves, and the least that turning one of their signs around
// costs: weight ((target + value)^2 - (target - value)^2) = 4 weight target value. Returns the
// least error.
BITBUDGET_INLINE float HalfErrors(const Query& q, int half, float* errors, float* turned) {
  const LatticePoints::Half& of = q.lattice.halves[half];
  const int dims = q.lattice.dims / 2;
  const float* const targets = q.targets + half * dims;
  const float* const weights = q.weights + half * dims;
  Lanes least_error = Lanes{} + kInfinite;
  for (int p = 0; p < of.padded; p += kLanes) {
    Lanes sum = {};
    Lanes least = Lanes{} + kInfinite;
#pragma GCC unroll 4
    for (int dim = 0; dim < dims; ++dim) {
      Lanes value;
      std::memcpy(&value, &of.values[dim * of.padded + p], sizeof(value));
      const Lanes distance = value - targets[dim];
      sum += distance * distance * weights[dim];
      if (!q.flipped) continue;
      const Lanes around = value * (4.0f * weights[dim] * targets[dim]);
      least = around < least ? around : least;
    }
    least_error = sum < least_error ? sum : least_error;
    std::memcpy(errors + p, &sum, sizeof(sum));
    if (q.flipped) std::memcpy(turned + p, &least, sizeof(least));
  }
  float result = least_error[0];
  for (int lane = 1; lane < kLanes; ++lane) {
    result = least_error[lane] < result ? least_error[lane] : result;
  }
  return result;
}

// The point of the least error. A point is two halves, whose errors add up: first halves whose
// error with the best of all second ones is no better than what is found are passed over.
BITBUDGET_INLINE void FindBody(const Query& q, float* error, int32_t* point) {
  std::array<float, kMaxHalves> first;
  std::array<float, kMaxHalves> second;
  std::array<float, kMaxHalves> first_turned;
  std::array<float, kMaxHalves> second_turned;
  const float least_first = HalfErrors(q, 0, first.data(), first_turned.data());
  const float least_second = HalfErrors(q, 1, second.data(), second_turned.data());
  const int count = q.lattice.halves[0].count;
  float best = kInfinite;
  int32_t best_point = 0;
  const auto scan = [&](int from) {
    const auto& begins = q.lattice.begins;
    for (int at = begins[from]; at < begins[from + 1]; ++at) {
      const LatticePoints::Pair& pair = q.lattice.pairs[at];
      float sum = first[from] + second[pair.second];
      if (q.flipped) sum += std::min(first_turned[from], second_turned[pair.second]);
      if (sum < best) {
        best = sum;
        best_point = pair.point;
      }
    }
  };
  int nearest = 0;
  while (nearest + 1 < count && first[nearest] > least_first) ++nearest;
  scan(nearest);
  for (int h = 0; h < count; ++h) {
    if (first[h] + least_second < best && h != nearest) scan(h);
  }
  *error = best;
  *point = best_point;
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
      halves_(HalvesOf(lattice_)) {
  std::set<int> found;
  for (int point = 0; point < lattice_.points; ++point) {
    for (int dim = 0; dim < lattice_.dims; ++dim) {
      const int value = lattice_.Value(point, dim);
      if (lattice_.signs != Lattice::Signs::kShifted) {
        found.insert(value);
      } else {
        found.insert({std::abs(8 * value + 1), std::abs(8 * value - 1)});
      }
    }
  }
  magnitudes_.assign(found.begin(), found.end());
}

LatticePoints::Halves LatticePoints::HalvesOf(const Lattice& lattice) {
  const int bits = lattice.digit_bits * lattice.dims / 2;
  const int mask = (1 << bits) - 1;
  Halves made;
  made.dims = lattice.dims;
  std::array<std::vector<int>, 2> numbers;  // of digits, of the halves that there are
  for (int half = 0; half < 2; ++half) {
    std::set<int> found;
    for (int point = 0; point < lattice.points; ++point) {
      found.insert(lattice.digits[point] >> (half * bits) & mask);
    }
    numbers[half].assign(found.begin(), found.end());
    Half& of = made.halves[half];
    of.count = static_cast<int>(found.size());
    of.padded = (of.count + kLanes - 1) / kLanes * kLanes;
    CHECK_LE(of.padded, kMaxHalves);
    of.values.assign(lattice.dims / 2 * of.padded, 0.0f);
    for (int h = 0; h < of.padded; ++h) {  // the last one fills the vectors
      for (int dim = 0; dim < lattice.dims / 2; ++dim) {
        const int digit = numbers[half][std::min(h, of.count - 1)] >> (lattice.digit_bits * dim);
        of.values[dim * of.padded + h] =
            static_cast<float>(lattice.values[digit & ((1 << lattice.digit_bits) - 1)]);
      }
    }
  }
  for (const int number : numbers[0]) {
    made.begins.push_back(static_cast<int>(made.pairs.size()));
    for (int point = 0; point < lattice.points; ++point) {
      if ((lattice.digits[point] & mask) != number) continue;
      const auto second = std::lower_bound(
          numbers[1].begin(), numbers[1].end(), lattice.digits[point] >> bits & mask);
      made.pairs.push_back(
          {static_cast<uint16_t>(second - numbers[1].begin()), static_cast<uint16_t>(point)});
    }
  }
  made.begins.push_back(static_cast<int>(made.pairs.size()));
  return made;
}

LatticePoints::Best LatticePoints::Find(const float* targets,
                                        const float* weights,
                                        bool flipped) const {
  const Query query = {halves_, targets, weights, flipped};
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

bool LatticeSearchesAgree(const BlockTraits& traits,
                          std::span<const float> targets,
                          std::span<const float> weights) {
  const LatticePoints::Halves halves = LatticePoints::HalvesOf(*traits.lattice);
  for (const bool flipped : {false, true}) {
    const Query query = {halves, targets.data(), weights.data(), flipped};
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
