#include "search/objective.h"

#include <glog/logging.h>

#include <cmath>
#include <limits>

namespace bitbudget {
namespace {

bool IsFinite(Statistic statistic, const Evaluation& evaluation) {
  double sum = 0;
  for (const ProbeResult& probe : evaluation) sum += TermOf(statistic, probe).value;
  return std::isfinite(sum);
}

bool AllFinite(const Evaluation& evaluation) {
  return IsFinite(Statistic::kDppl, evaluation) && IsFinite(Statistic::kLoss, evaluation);
}

int Sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

// The sign of a - b of the statistic, 0 when it is within its standard error.
int SignificantSign(Statistic statistic, const Evaluation& a, const Evaluation& b) {
  const PairedDifference d = Difference(statistic, a, b);
  if (a.size() == 1) return Sign(d.value);  // one probe says nothing about noise
  return std::abs(d.value) > d.standard_error ? Sign(d.value) : 0;
}

}  // namespace

// Every operation is exactly odd in (a - b), so swapping a and b flips the sign and nothing else.
PairedDifference Difference(Statistic statistic, const Evaluation& a, const Evaluation& b) {
  CHECK(statistic != Statistic::kFdt75);
  CHECK_EQ(a.size(), b.size()) << "evaluations of different probes cannot be compared";
  const size_t n = a.size();
  double difference = 0;
  double weight = 0;
  for (size_t i = 0; i < n; ++i) {
    const StatisticTerm term = TermOf(statistic, a[i]);
    difference += term.value - TermOf(statistic, b[i]).value;
    weight += term.weight;
  }
  if (!(weight > 0)) return {};
  const double d = difference / weight;
  if (n == 1) return {d, std::numeric_limits<double>::infinity()};
  // The linearised standard error of a ratio; with equal weights it is sd / sqrt(n).
  double squares = 0;
  for (size_t i = 0; i < n; ++i) {
    const StatisticTerm term = TermOf(statistic, a[i]);
    const double residual = term.value - TermOf(statistic, b[i]).value - d * term.weight;
    squares += residual * residual;
  }
  const double count = static_cast<double>(n);
  return {d, std::sqrt(squares * count / (count - 1)) / weight};
}

bool Objective::Better(const Evaluation& a, const Evaluation& b) const {
  CHECK_EQ(a.size(), b.size()) << "evaluations of different probes cannot be compared";
  if (a.empty()) return false;
  const bool a_finite = AllFinite(a);
  const bool b_finite = AllFinite(b);
  if (!a_finite || !b_finite) return a_finite && !b_finite;

  int sign = primary_ == Statistic::kFdt75 ? Sign(Compute(primary_, a) - Compute(primary_, b))
                                           : SignificantSign(primary_, a, b);
  if (sign != 0) return (sign > 0) == LargerIsBetter(primary_);
  for (const Statistic statistic : {Statistic::kLoss, Statistic::kDppl}) {
    sign = SignificantSign(statistic, a, b);
    if (sign != 0) return sign < 0;
  }
  return false;
}

Statistic Objective::LossStatistic() const {
  switch (primary_) {
    case Statistic::kFdtMean:
    case Statistic::kFdt75:
    case Statistic::kSdtMean:
      return Statistic::kLoss;
    default:
      return primary_;
  }
}

bool Objective::LowerLoss(const Evaluation& a, const Evaluation& b) const {
  CHECK_EQ(a.size(), b.size()) << "evaluations of different probes cannot be compared";
  const Statistic statistic = LossStatistic();
  const bool a_finite = IsFinite(statistic, a);
  const bool b_finite = IsFinite(statistic, b);
  if (!a_finite || !b_finite) return a_finite && !b_finite;
  return SignificantSign(statistic, a, b) < 0;
}

bool Objective::Hopeless(const Evaluation& a, const Evaluation& b) const {
  const int significant = primary_ == Statistic::kFdt75 ? 0 : SignificantSign(primary_, a, b);
  if (significant != 0) return (significant > 0) != LargerIsBetter(primary_);
  const double difference = Compute(primary_, a) - Compute(primary_, b);
  return (LargerIsBetter(primary_) ? difference <= 0 : difference >= 0) && Loss(a) >= Loss(b);
}

double Objective::Loss(const Evaluation& evaluation) const {
  const Statistic statistic = LossStatistic();
  double value = 0;
  double weight = 0;
  for (const ProbeResult& probe : evaluation) {
    const StatisticTerm term = TermOf(statistic, probe);
    value += term.value;
    weight += term.weight;
  }
  if (weight == 0) return 0;
  return std::isfinite(value) ? value / weight : std::numeric_limits<double>::infinity();
}

}  // namespace bitbudget
