#ifndef BITBUDGET_SEARCH_OBJECTIVE_H_
#define BITBUDGET_SEARCH_OBJECTIVE_H_

#include "runtime/eval/metrics.h"

namespace bitbudget {

// Orders evaluations of the same probes: the chosen statistic decides where the difference between
// two candidates is larger than its own noise over probes; otherwise (ties, and the saturated end
// of FDT where every probe is followed to its end) divergent perplexity decides, and then mean KL.
class Objective {
 public:
  explicit Objective(Statistic primary) : primary_(primary) {}

  Statistic primary() const { return primary_; }

  // Whether `a` is better than `b`. Deterministic; never true both ways round.
  bool Better(const Evaluation& a, const Evaluation& b) const;

 private:
  Statistic primary_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_OBJECTIVE_H_
