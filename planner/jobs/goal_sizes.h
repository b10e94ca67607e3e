#ifndef BITBUDGET_PLANNER_JOBS_GOAL_SIZES_H_
#define BITBUDGET_PLANNER_JOBS_GOAL_SIZES_H_

#include <cstdint>
#include <map>
#include <optional>

namespace bitbudget {

// What size reaches a distance from the original model (QualityGoal::Distance), by a curve that is
// measured where it matters. Between two of its points the logarithm of the distance is linear in
// the size.
class GoalSizes {
 public:
  // Sizes in bytes that the curve lies within.
  GoalSizes(int64_t smallest, int64_t largest) : smallest_(smallest), largest_(largest) {}

  // A measured point. REQUIRES: distance > 0.
  void Add(int64_t bytes, double distance) { points_[bytes] = distance; }

  // Where to measure next to find the size for `distance`: first the ends; nullopt once the two
  // points around it are within 2 % of each other, or the distance is outside of what the ends
  // have.
  std::optional<int64_t> NextToMeasure(double distance) const;

  // The smallest size that the curve says has at most `distance`; the largest if none has.
  // REQUIRES: a point.
  int64_t SizeFor(double distance) const;

  // The curve's distance at a size; of the nearest end outside of its points. REQUIRES: a point.
  double DistanceAt(int64_t bytes) const;

  int64_t smallest() const { return smallest_; }
  int64_t largest() const { return largest_; }

 private:
  using Points = std::map<int64_t, double>;

  // The first point with at most `distance` behind which every larger one has that too; end() if
  // even the largest has more.
  Points::const_iterator FirstWithin(double distance) const;

  int64_t smallest_;
  int64_t largest_;
  Points points_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_GOAL_SIZES_H_
