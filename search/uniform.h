#ifndef BITBUDGET_SEARCH_UNIFORM_H_
#define BITBUDGET_SEARCH_UNIFORM_H_

#include <memory>

#include "search/search_method.h"

namespace bitbudget {

// Candidates that are run where estimates tell them apart.
inline constexpr size_t kLikeliestUniform = 2;

// Every unit that is not pinned in one format: each format that all of them may take and that
// fits the budget is evaluated (where the context has estimates, those of least estimated
// loss), the best by `objective` wins, of equal ones the smaller. Infeasible when there is no such
// format, even if a mixed assignment would fit.
std::unique_ptr<SearchMethod> MakeUniformSearch(const Objective& objective);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_UNIFORM_H_
