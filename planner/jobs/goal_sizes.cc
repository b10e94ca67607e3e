#include "planner/jobs/goal_sizes.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace bitbudget {
namespace {

// Two sizes that are this close are one.
constexpr double kClose = 0.02;
// How much of a bracket a measurement cuts off at least.
constexpr double kLeastCut = 0.15;

// Where the line through (a, log of da) and (b, log of db) has `distance`, as a share of the way
// from a to b.
double ShareOfWay(double da, double db, double distance) {
  if (da <= db) return 1;  // noise: the curve does not fall here
  return std::clamp(std::log(da / distance) / std::log(da / db), 0.0, 1.0);
}

}  // namespace

GoalSizes::Points::const_iterator GoalSizes::FirstWithin(double distance) const {
  auto first = points_.end();
  while (first != points_.begin() && std::prev(first)->second <= distance) --first;
  return first;
}

std::optional<int64_t> GoalSizes::NextToMeasure(double distance) const {
  if (!points_.contains(largest_)) return largest_;
  if (points_.at(largest_) > distance) return std::nullopt;
  if (!points_.contains(smallest_)) return smallest_;
  const auto above = FirstWithin(distance);
  if (above == points_.begin()) return std::nullopt;
  const auto below = std::prev(above);
  const double a = static_cast<double>(below->first);
  const double b = static_cast<double>(above->first);
  if (b - a <= kClose * b) return std::nullopt;
  const double share =
      std::clamp(ShareOfWay(below->second, above->second, distance), kLeastCut, 1 - kLeastCut);
  return static_cast<int64_t>(a + share * (b - a));
}

int64_t GoalSizes::SizeFor(double distance) const {
  const auto above = FirstWithin(distance);
  if (above == points_.end()) return largest_;
  if (above == points_.begin()) return above->first;
  const auto below = std::prev(above);
  const double share = ShareOfWay(below->second, above->second, distance);
  return below->first +
         static_cast<int64_t>(std::ceil(share * static_cast<double>(above->first - below->first)));
}

double GoalSizes::DistanceAt(int64_t bytes) const {
  const auto above = points_.lower_bound(bytes);
  if (above == points_.end()) return std::prev(above)->second;
  if (above == points_.begin() || above->first == bytes) return above->second;
  const auto below = std::prev(above);
  const double share =
      static_cast<double>(bytes - below->first) / static_cast<double>(above->first - below->first);
  return std::exp((1 - share) * std::log(below->second) + share * std::log(above->second));
}

}  // namespace bitbudget
