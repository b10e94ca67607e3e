#include "search/surrogate.h"

#include <ceres/ceres.h>
#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace bitbudget {
namespace {

// (alpha * slope - loss) / sigma
class ObservationCost : public ceres::SizedCostFunction<1, 1> {
 public:
  ObservationCost(double slope, double loss, double sigma)
      : slope_(slope / sigma), target_(loss / sigma) {}
  bool Evaluate(const double* const* alpha, double* residual, double** jacobians) const override {
    residual[0] = alpha[0][0] * slope_ - target_;
    if (jacobians != nullptr && jacobians[0] != nullptr) jacobians[0][0] = slope_;
    return true;
  }

 private:
  const double slope_, target_;
};

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
  ceres::Problem problem;
  for (size_t c = 0; c < alpha_.size(); ++c) {
    if (observations_[c].empty()) continue;
    std::vector<double> ratios;
    for (const Observation& o : observations_[c]) ratios.push_back(o.loss / o.error);
    alpha_[c] = std::max(Median(ratios), 0.0);
    problem.AddParameterBlock(&alpha_[c], 1);
    problem.SetParameterLowerBound(&alpha_[c], 0, 0);
    for (const Observation& o : observations_[c]) {
      // An observation further off pulls as much as one that is two standard deviations off.
      problem.AddResidualBlock(
          new ObservationCost(o.error, o.loss, Sigma(o)), new ceres::HuberLoss(2.0), &alpha_[c]);
    }
  }
  if (problem.NumResiduals() > 0) {
    ceres::Solver::Options options;
    options.linear_solver_type = ceres::SPARSE_NORMAL_CHOLESKY;
    options.num_threads = 1;
    options.logging_type = ceres::SILENT;
    options.function_tolerance = 1e-12;  // seconds are spent on a measurement, microseconds here
    ceres::Solver::Summary summary;
    ceres::Solve(options, &problem, &summary);
    VLOG(2) << summary.BriefReport();
  }
  MeasureSpread();
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
