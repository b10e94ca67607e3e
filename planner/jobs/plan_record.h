#ifndef BITBUDGET_PLANNER_JOBS_PLAN_RECORD_H_
#define BITBUDGET_PLANNER_JOBS_PLAN_RECORD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planner/jobs/held_out.h"
#include "planner/jobs/plan_job.h"
#include "planner/runs/calibration.h"
#include "planner/runs/run_store.h"
#include "plans/plan.pb.h"
#include "runtime/eval/probes.h"
#include "search/exact_fill.h"
#include "search/search_method.h"

namespace bitbudget {

// What a plan job found, as values. ToPlan() writes it down.
struct PlanFindings {
  std::optional<BudgetSplit> budget;  // none for a sparsity goal
  EncoderCalibration calibration;
  int64_t search_probes = 0;
  SearchSummary search;
  // Output errors, rows of components as their units' ladders; empty when none were measured.
  CostTable errors;
  std::optional<HeldOutComparison> held_out;  // none when the search was interrupted
  Assignment assignment;                      // that is emitted
  // SHA-256 of the encoding of every component, empty for one that keeps its stored format; empty
  // for encoders that make their codes from the plan alone.
  std::vector<std::string> encoding_sha256;
  // What a plan says of its trained weights; none: they are the model's.
  std::optional<plans::Recovery> recovery;
};

// Null `maker`: nothing was run (as_it_is.h).
plans::Plan ToPlan(const Model& model,
                   const PlanOptions& options,
                   const ProbeMaker* maker,
                   const SearchProblem& problem,
                   const PlanFindings& findings);

// What decides the meaning of an evaluation. Limit, constraints, search method and number of probes
// do not: a run with others shares the same evaluations.
std::vector<IdentityField> RunIdentity(const Model& model,
                                       const WorkspaceOptions& options,
                                       const ProbeMaker& maker);

// The options of the command that decide its plan, for readers of the run's store.
std::string JobText(const PlanOptions& options);

// Values as a plan holds them, and back.
plans::Metrics ToProto(const Metrics& metrics);
Metrics FromProto(const plans::Metrics& metrics);
plans::TextDivergence ToProto(const TextDivergence& text);
TextDivergence FromProto(const plans::TextDivergence& text);
plans::Interval ToProto(const Interval& interval);
Interval FromProto(const plans::Interval& interval);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLAN_RECORD_H_
