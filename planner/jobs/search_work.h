#ifndef BITBUDGET_PLANNER_JOBS_SEARCH_WORK_H_
#define BITBUDGET_PLANNER_JOBS_SEARCH_WORK_H_

#include <cstdint>
#include <vector>

#include "planner/jobs/plan_job.h"
#include "planner/jobs/plan_work.h"
#include "planner/jobs/work_sizes.h"

namespace bitbudget {

// What a search shares with others of the same run.
struct SharedSearches {
  int64_t alike = 1;     // by its method, itself included: each has its part of what all measure
  bool encoded = false;  // what it runs, by an earlier one
};

// The phases of the search method that the options name, counted at the limits of its rounds
// (docs/search.md).
std::vector<PhaseWork> SearchWork(const PlanOptions& options,
                                  const WorkSizes& sizes,
                                  const SharedSearches& shared = {});

// So many whole candidates, at most (SearchSession::KeepBest).
PhaseWork Candidates(int64_t count);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_SEARCH_WORK_H_
