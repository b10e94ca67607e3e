#ifndef BITBUDGET_SEARCH_OBJECTIVE_H_
#define BITBUDGET_SEARCH_OBJECTIVE_H_

#include "runtime/eval/metrics.h"

namespace bitbudget {

// The difference a - b of a statistic that is a mean or a ratio of sums, paired over probes, with
// its standard error (infinite for less than two probes).
// REQUIRES: the same probes in both; the statistic is not kFdt75.
struct PairedDifference {
  double value = 0;
  double standard_error = 0;
};
PairedDifference Difference(Statistic statistic, const Evaluation& a, const Evaluation& b);

// Orders evaluations of the same probes: the chosen statistic decides where the difference between
// two candidates is larger than its own noise over probes; otherwise (ties, and the saturated end
// of FDT where every probe is followed to its end) kLoss decides by the same rule, and then
// divergent perplexity. Noise is the standard error of the paired difference (docs/search.md,
// "Objective"); FDT75 is a quantile and has none, so there any difference decides.
class Objective {
 public:
  explicit Objective(Statistic primary) : primary_(primary) {}

  Statistic primary() const { return primary_; }

  // Whether `a` is better than `b`: the verdict on two evaluations of whole candidates.
  // Deterministic; never true both ways round; false for equal evaluations and for no probes. Not
  // transitive (within noise is a tie), so a search that climbs compares with its start as well.
  // A candidate whose loss is not finite is worse than every one whose loss is.
  // REQUIRES: the same probes in both.
  bool Better(const Evaluation& a, const Evaluation& b) const;

  // Whether the loss of `a` is lower than that of `b` by more than its noise over probes.
  // REQUIRES: the same probes in both.
  bool LowerLoss(const Evaluation& a, const Evaluation& b) const;

  // Whether `a`, of which only some probes are known, is not on the way to be better than `b`: it
  // is worse by the statistic of the objective, or better neither by that nor by loss.
  // REQUIRES: the same probes in both.
  bool Hopeless(const Evaluation& a, const Evaluation& b) const;

  // A smooth scalar to minimise, nats per token: kLoss, or what the objective itself is
  // where that is smooth (of perplexities the mean nll). It ranks moves and is what they
  // are predicted in. Infinite when it is not a number; 0 for no probes.
  double Loss(const Evaluation& evaluation) const;
  Statistic LossStatistic() const;

 private:
  Statistic primary_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_OBJECTIVE_H_
