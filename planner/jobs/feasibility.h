#ifndef BITBUDGET_PLANNER_JOBS_FEASIBILITY_H_
#define BITBUDGET_PLANNER_JOBS_FEASIBILITY_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "search/problem.h"

namespace bitbudget {

// The error of a limit that nothing can meet, as opposed to other bad input.
absl::Status InfeasibleError(const std::string& message);
bool IsInfeasible(const absl::Status& status);

// InfeasibleError, naming the smallest possible size, when no assignment fits the budget.
absl::Status CheckFeasible(const SearchProblem& problem, int64_t parameter_count);

// InfeasibleError for a limit that some assignment may meet, but none of the kind that the search
// method makes.
absl::Status MethodInfeasible(const SearchProblem& problem, const std::string& method);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_FEASIBILITY_H_
