#ifndef BITBUDGET_PLANNER_JOBS_FALLBACK_H_
#define BITBUDGET_PLANNER_JOBS_FALLBACK_H_

#include "search/problem.h"

namespace bitbudget {

// The assignment to emit when a search was interrupted before it had run any candidate that fits:
// the one with the least sum over units of weights * TypicalError(format) / 4^extra, where extra is
// what scales and zero points add, at most one bit per weight. Where the limit is a sparsity
// target, every unit gets its share of zeros or as many as its ladder has.
Assignment UnmeasuredAssignment(const SearchProblem& problem);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_FALLBACK_H_
