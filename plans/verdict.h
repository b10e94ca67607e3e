#ifndef BITBUDGET_PLANS_VERDICT_H_
#define BITBUDGET_PLANS_VERDICT_H_

#include <string>

#include "plans/plan.pb.h"

namespace bitbudget {

// In one line, whether the search's result is better than the best uniform format that fits, and by
// what: statistics whose 95 % interval of the paired difference excludes 0, and how large the
// differences are. "better than uniform int4z-g64: text KL 18 % lower, KL 35 % lower, FDT 3.9
// tokens later". Empty where the two were not compared. REQUIRES: a valid plan.
std::string Verdict(const plans::Plan& plan);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_VERDICT_H_
