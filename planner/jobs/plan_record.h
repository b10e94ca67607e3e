#ifndef BITBUDGET_PLANNER_JOBS_PLAN_RECORD_H_
#define BITBUDGET_PLANNER_JOBS_PLAN_RECORD_H_

#include <string>
#include <vector>

#include "planner/jobs/plan_job.h"
#include "planner/runs/run_store.h"
#include "plans/plan.pb.h"
#include "runtime/eval/bank.h"
#include "runtime/eval/probes.h"
#include "search/exact_fill.h"
#include "search/search_method.h"

namespace bitbudget {

// The parts of a plan that say what was asked and what was found, as a job comes to know them.

// Model, budget and options.
void DescribeJob(const Model& model,
                 const PlanOptions& options,
                 const SearchProblem& problem,
                 const BudgetSplit& budget,
                 const ProbeMaker& maker,
                 plans::Plan* plan);

// The search's work, trace and result on its own probes.
void DescribeSearch(const Model& model, const SearchSummary& summary, plans::Plan* plan);

// Every component's format, with what was measured of it alone. `errors`: of stage 0, rows of
// components as their units' ladders; empty when there are none.
void DescribeComponents(const EncodingBank& bank,
                        const SearchProblem& problem,
                        const Assignment& assignment,
                        const SearchSummary& summary,
                        const CostTable& errors,
                        plans::Plan* plan);

// What every component's encoding must be when it is made again. Errors: EncodingBank::Encoded's.
absl::Status RecordEncodings(const Assignment& assignment, EncodingBank* bank, plans::Plan* plan);

// What decides what an evaluation means, from a plan that DescribeJob() filled. The budget, the
// constraints, the search and the number of probes are not here: a run with others uses the same
// evaluations.
std::vector<IdentityField> RunIdentity(const plans::Plan& plan);

// The command in short, for those who read the run.
std::string JobText(const plans::Plan& plan, const PlanOptions& asked);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLAN_RECORD_H_
