#include "planner/jobs/as_it_is.h"

#include <algorithm>

#include "planner/jobs/plan_record.h"

namespace bitbudget {
namespace {

// Whether the unit may keep what its components are stored in.
bool MayStay(const SearchProblem& problem, UnitId u, const Assignment& stored) {
  const std::vector<ComponentId> parts = problem.Parts(u);
  return std::all_of(parts.begin(), parts.end(), [&](ComponentId id) {
    return std::any_of(problem.ladders[u].begin(),
                       problem.ladders[u].end(),
                       [&](const Choice& choice) { return choice.format == stored[id]; });
  });
}

}  // namespace

std::optional<plans::Plan> PlanAsItIs(const Model& model,
                                      const PlanOptions& options,
                                      const PlanProblem& made) {
  if (options.SparsityPermille() > 0) return std::nullopt;
  const Assignment stored = StoredAssignment(model);
  if (!made.problem.Fits(stored)) return std::nullopt;
  for (UnitId u = 0; u < made.problem.size(); ++u) {
    if (!MayStay(made.problem, u, stored)) return std::nullopt;
  }
  PlanFindings findings;
  findings.budget = made.budget;
  findings.assignment = stored;
  findings.search.assignment = stored;
  findings.search.note = "the model fits the budget as it is stored; nothing was run";
  return ToPlan(model, options, /*maker=*/nullptr, made.problem, findings);
}

}  // namespace bitbudget
