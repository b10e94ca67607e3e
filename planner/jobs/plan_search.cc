#include "planner/jobs/plan_search.h"

#include <glog/logging.h>

#include <memory>
#include <optional>
#include <utility>

#include "planner/jobs/fallback.h"
#include "planner/jobs/feasibility.h"
#include "planner/jobs/search_methods.h"
#include "planner/runs/estimated_costs.h"
#include "planner/runs/move_costs.h"
#include "planner/runs/output_errors.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

absl::StatusOr<SearchResult> RunSearch(const SearchInputs& in) {
  Workspace* const workspace = in.ready.workspace.get();
  const MethodNeeds needs = NeedsOf(in.options);
  BB_ASSIGN_OR_RETURN(
      const std::unique_ptr<SearchMethod> method,
      MakeMethod(in.options, in.problem, *in.ready.maker, workspace, in.run, in.progress));
  SearchContext context{
      &in.problem, in.probes->evaluator(), in.progress, workspace->bank()->StoredAssignment()};
  context.retrainer = in.retrainer;
  std::unique_ptr<SharedProbes> text;
  if (needs.text) {
    BB_ASSIGN_OR_RETURN(text,
                        SharedProbes::Create(*in.ready.maker,
                                             ProbeRole::kSearch,
                                             in.options.search_probes,
                                             workspace,
                                             in.run,
                                             in.progress,
                                             SharedProbes::Completions::kText));
    context.text = text->evaluator();
  }
  SearchResult result;
  CostTable unit_errors;
  std::optional<MoveCosts> moves;
  if (needs.output_errors) {
    const Scorer* const scorer = in.options.CostScorer();
    const bool predicts_moves = needs.moves && scorer != nullptr && scorer->pairs;
    if (scorer == nullptr) {
      BB_ASSIGN_OR_RETURN(
          result.errors,
          MeasureOutputErrors(in.problem, *in.ready.maker, workspace, in.run, in.progress));
    } else {
      BB_ASSIGN_OR_RETURN(
          EstimatedCosts estimated,
          EstimateCosts(
              *scorer, in.problem, in.probes->sequences(), workspace, in.run, in.progress));
      result.errors = std::move(estimated.costs);
      if (predicts_moves) {
        moves.emplace(
            in.problem,
            std::move(estimated.pairs),
            in.probes->sequences().First(static_cast<size_t>(MoveProbes(in.probes->size()))),
            workspace,
            in.run,
            in.progress);
        context.moves = &*moves;
      }
    }
    unit_errors = SumOverUnits(in.problem, result.errors);
    context.errors = &unit_errors;
    if (scorer != nullptr) context.estimates = &unit_errors;
  }
  BB_ASSIGN_OR_RETURN(result.summary, method->Run(context));
  if (result.summary.outcome == SearchOutcome::kInfeasible) {
    return MethodInfeasible(in.problem, in.options.search);
  }
  if (result.summary.assignment.empty()) {
    result.summary.assignment = UnmeasuredAssignment(in.problem);
  }
  VLOG(1) << result.summary.BriefReport();
  return result;
}

}  // namespace bitbudget
