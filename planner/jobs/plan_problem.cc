#include "planner/jobs/plan_problem.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "planner/jobs/constraints.h"
#include "planner/jobs/feasibility.h"
#include "planner/jobs/plan_retraining.h"
#include "planner/jobs/search_methods.h"
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
  BB_ASSIGN_OR_RETURN(made.problem, BuildProblem(model, constraints, limit, &made.notes));
  if (made.budget.has_value() && constraints.target == nullptr && constraints.formats.empty()) {
    made.notes.push_back(
        "without a target the plan may use formats that no GGUF file holds; with --target "
        "llama.cpp, or bitbudget fit, it does not");
  }
  const int64_t positions = model.config().max_position_embeddings;
  if (const auto context = options.budget_scope.context;
      context.has_value() && *context > positions) {
    made.notes.push_back(absl::StrCat("a context of ",
                                      *context,
                                      " is beyond the ",
                                      positions,
                                      " positions that the model was made for"));
  }
  BB_RETURN_IF_ERROR(CheckFeasible(made.problem, model.parameter_count()));
  if (options.retraining.has_value()) {
    BB_RETURN_IF_ERROR(CheckRetrainable(made.problem, model));
  }
  return made;
}

void AddWorkspaceNeeds(const PlanOptions& options,
                       const SearchProblem& problem,
                       int64_t ranks,
                       WorkspaceNeeds* needs) {
  needs->roles = {ProbeRole::kSearch, ProbeRole::kHeldOut};
  // Every rank has its share of the probes.
  needs->search_probes = (options.search_probes + ranks - 1) / ranks;
  needs->held_out_probes = (options.held_out_probes + ranks - 1) / ranks;
  if (NeedsCalibrationPrompts(options)) needs->calibration_probes = options.search_probes;
  if (options.retraining.has_value()) {
    needs->roles.push_back(ProbeRole::kCalibration);
    needs->calibration_probes = RetrainingSequences(*options.retraining);
  }
  needs->gradient_probes = std::max(needs->gradient_probes, GradientProbes(options));
  for (const std::vector<Choice>& ladder : problem.ladders) {
    needs->gradient_formats =
        std::max(needs->gradient_formats, static_cast<int64_t>(ladder.size()));
  }
  if (NeedsOf(options).text) needs->evaluators = 2;
}

absl::StatusOr<PlanSetup> SetUpPlans(const Model& model,
                                     std::span<const PlanOptions> jobs,
                                     int64_t ranks) {
  PlanSetup setup;
  WorkspaceNeeds needs;
  for (const PlanOptions& options : jobs) {
    BB_RETURN_IF_ERROR(options.Validate());
    BB_ASSIGN_OR_RETURN(PlanProblem made, MakePlanProblem(model, options));
    AddWorkspaceNeeds(options, made.problem, ranks, &needs);
    setup.made.push_back(std::move(made));
  }
  BB_ASSIGN_OR_RETURN(setup.ready, SetUpWorkspace(model, jobs[0].workspace, needs));
  return setup;
}

}  // namespace bitbudget
