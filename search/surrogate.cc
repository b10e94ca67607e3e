#include "search/surrogate.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace bitbudget {
namespace {

// An observation further off than this many standard deviations pulls as much as one that is so far
// off (Huber's loss).
constexpr double kHuber = 2;
// Newton takes a step for every observation that enters or leaves the outliers, halving one for
// every bit of a number.
constexpr int kMaxNewtonSteps = 200;

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

Surrogate::Surrogate(const SearchProblem& problem,
                     CostTable errors,
                     const SurrogateOptions& options)
    : errors_(std::move(errors)),
      options_(options),
      observations_(problem.size()),
      alpha_(problem.size(), 1.0),
      spread_(options.spread) {
  CHECK_EQ(static_cast<int>(errors_.size()), problem.size());
  for (int c = 0; c < problem.size(); ++c) {
    CHECK_EQ(errors_[c].size(), problem.ladders[c].size());
  }
}

void Surrogate::Observe(UnitId c, int choice, double loss, double standard_error) {
  std::vector<Observation>& known = observations_[c];
  std::erase_if(known, [&](const Observation& o) { return o.choice == choice; });
  const double error = errors_[c][choice];
  // What changes nothing, or cannot be compared, says nothing about the unit.
  if (error > 0 && std::isfinite(error) && std::isfinite(loss) && std::isfinite(standard_error)) {
    known.push_back({choice, error, loss, standard_error});
  }
}

double Surrogate::Sigma(const Observation& o) const {
  return std::hypot(o.standard_error, options_.noise, options_.spread * o.loss);
}

void Surrogate::Fit() {
  for (size_t c = 0; c < alpha_.size(); ++c) {
    if (!observations_[c].empty()) alpha_[c] = LeastLoss(observations_[c]);
  }
  MeasureSpread();
}

// The loss is convex in alpha, and half its derivative is the sum over observations of
//   slope * clamp(slope * alpha - target, -2, 2),   slope = error / sigma, target = loss / sigma:
// piecewise linear and not decreasing. Newton's method, kept in a bracket, ends at its root in a
// few steps.
double Surrogate::LeastLoss(const std::vector<Observation>& observations) const {
  std::vector<double> ratios;
  for (const Observation& o : observations) ratios.push_back(o.loss / o.error);
  // At the largest ratio no residual is negative.
  double low = 0;
  double high = std::max(*std::max_element(ratios.begin(), ratios.end()), 0.0);
  double alpha = std::max(Median(std::move(ratios)), 0.0);
  for (int step = 0; step < kMaxNewtonSteps; ++step) {
    double derivative = 0;
    double curvature = 0;
    for (const Observation& o : observations) {
      const double sigma = Sigma(o);
      const double slope = o.error / sigma;
      const double residual = slope * alpha - o.loss / sigma;
      derivative += slope * std::clamp(residual, -kHuber, kHuber);
      if (std::abs(residual) <= kHuber) curvature += slope * slope;
    }
    if (derivative == 0) break;
    (derivative < 0 ? low : high) = alpha;
    double next = curvature > 0 ? alpha - derivative / curvature : low - 1;
    // Where all are outliers there is no curvature; the bracket is halved then.
    if (next < low || next > high) next = low + (high - low) / 2;
    const bool converged =
        std::abs(next - alpha) <= 4 * std::numeric_limits<double>::epsilon() * alpha;
    alpha = next;
    if (converged) break;
  }
  return alpha;
}

void Surrogate::MeasureSpread() {
  double squares = 0;
  double freedom = 0;
  for (size_t c = 0; c < observations_.size(); ++c) {
    if (observations_[c].size() < 2) continue;  // fits itself
    for (const Observation& o : observations_[c]) {
      if (std::abs(o.loss) <= options_.noise) continue;
      const double predicted = alpha_[c] * o.error;
      // Relative to the larger of both: an outlier counts once.
      const double off = (predicted - o.loss) / std::max(predicted, std::abs(o.loss));
      squares += off * off;
      freedom += 1;
    }
    freedom -= 1;
  }
  // The first guess counts as much as a few observations.
  constexpr double kGuessWeight = 4;
  spread_ = std::sqrt((squares + kGuessWeight * options_.spread * options_.spread) /
                      (std::max(freedom, 0.0) + kGuessWeight));
}

double Surrogate::Predict(UnitId c, int choice) const {
  const double error = errors_[c][choice];
  if (error == 0) return 0;
  if (!std::isfinite(error) || observations_[c].empty()) {
    return std::numeric_limits<double>::infinity();
  }
  return alpha_[c] * error;
}

}  // namespace bitbudget
