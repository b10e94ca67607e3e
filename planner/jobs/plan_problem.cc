#include "planner/jobs/plan_problem.h"

#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "planner/jobs/constraints.h"
#include "planner/jobs/feasibility.h"
#include "planner/jobs/plan_retraining.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// The user's constraints and, where sparsity is searched for, the paper's: embedding and head keep
// their stored formats.
absl::StatusOr<Constraints> ConstraintsOf(const Model& model, const PlanOptions& options) {
  Constraints constraints = options.constraints;
  const bool sparsifies = options.search == "sparsify" || options.SparsityPermille() > 0;
  if (!sparsifies || options.prunes_embeddings) return constraints;
  std::vector<Constraints::Pin> pins;
  for (size_t c = 0; c < model.components().size(); ++c) {
    const Component& component = model.components()[c];
    if (component.layer >= 0) continue;
    BB_ASSIGN_OR_RETURN(
        Constraints::Pin pin,
        ParsePin(absl::StrCat("^",
                              absl::StrReplaceAll(component.name, {{".", "\\."}}),
                              "$=",
                              model.Weight(static_cast<ComponentId>(c)).format.Name())));
    pins.push_back(std::move(pin));
  }
  // The last pin that matches wins, so the user's come after these.
  constraints.pins.insert(constraints.pins.begin(), pins.begin(), pins.end());
  return constraints;
}

}  // namespace

absl::StatusOr<PlanProblem> MakePlanProblem(const Model& model, const PlanOptions& options) {
  PlanProblem made;
  SearchLimit limit;
  if (const Budget* budget = std::get_if<Budget>(&options.limit); budget != nullptr) {
    BB_ASSIGN_OR_RETURN(
        made.budget, SplitBudget(model, *budget, options.budget_scope, options.constraints.target));
    limit = ByteBudget{made.budget->weight_bytes};
  } else {
    limit = std::get<SparsityGoal>(options.limit).target;
  }
  BB_ASSIGN_OR_RETURN(const Constraints constraints, ConstraintsOf(model, options));
  BB_ASSIGN_OR_RETURN(made.problem, BuildProblem(model, constraints, limit));
  BB_RETURN_IF_ERROR(CheckFeasible(made.problem, model.parameter_count()));
  if (options.retraining.has_value()) {
    BB_RETURN_IF_ERROR(CheckRetrainable(made.problem, model));
  }
  return made;
}

}  // namespace bitbudget
