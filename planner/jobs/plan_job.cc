#include "planner/jobs/plan_job.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/as_it_is.h"
#include "planner/jobs/plan_jobs.h"
#include "planner/jobs/plan_work.h"
#include "planner/jobs/search_methods.h"
#include "planner/runs/run.h"
#include "runtime/base/status_macros.h"
#include "scoring/registry.h"

namespace bitbudget {
namespace {

absl::Status IgnoreCancelled(const absl::Status& status) {
  return absl::IsCancelled(status) ? absl::OkStatus() : status;
}

// The jobs from their problems to their plans.
absl::StatusOr<std::vector<PlanOutcome>> MakePlans(const Model& model,
                                                   std::span<const PlanOptions> options,
                                                   const HeldOutExtras& extras,
                                                   Run* run,
                                                   std::vector<Evaluation>* others,
                                                   MemoryPlan* memory,
                                                   PlanJobs* jobs) {
  std::vector<PlanProblem> problems;
  WorkspaceNeeds needs;
  for (const PlanOptions& job : options) {
    BB_RETURN_IF_ERROR(job.Validate());
    if (job.retraining.has_value() && run->ranks().size() > 1) {
      return absl::InvalidArgumentError("retraining runs in one process, not in several");
    }
    BB_ASSIGN_OR_RETURN(PlanProblem made, MakePlanProblem(model, job));
    AddWorkspaceNeeds(job, made.problem, run->ranks().size(), &needs);
    problems.push_back(std::move(made));
  }
  BB_RETURN_IF_ERROR(jobs->SetUp(options[0], needs, memory));
  std::vector<PlanJobs::Job*> begun;
  for (size_t i = 0; i < options.size(); ++i) {
    BB_ASSIGN_OR_RETURN(PlanJobs::Job * job, jobs->Add(options[i], std::move(problems[i])));
    begun.push_back(job);
  }
  jobs->progress()->Message(jobs->ready().memory.Describe());
  if (!begun.empty()) {  // of one model and the same formats: the first job's stand for all
    for (const std::string& note : begun[0]->made.notes) jobs->progress()->Message(note);
  }
  std::vector<JobToDo> to_do;
  for (const PlanJobs::Job* job : begun) to_do.push_back({&job->options, &job->made.problem});
  jobs->Stage(WorkOf(model, to_do, extras, *jobs->ready().maker, run->ranks().size()));
  BB_RETURN_IF_ERROR(jobs->Prepare());
  for (size_t i = 0; i < begun.size(); ++i) {
    jobs->StageJob(static_cast<int>(i));
    const absl::Status searched = jobs->Search(begun[i]);
    const bool stopped = absl::IsCancelled(searched) && i > 0;
    if (!stopped) BB_RETURN_IF_ERROR(searched);
    if (stopped || !begun[i]->met()) begun.resize(stopped ? i : i + 1);
  }
  const auto compare = [&]() -> absl::Status {
    std::vector<PlanJobs::Job*> met;
    std::copy_if(begun.begin(), begun.end(), std::back_inserter(met), [](const PlanJobs::Job* job) {
      return job->met();
    });
    for (PlanJobs::Job* job : met) BB_RETURN_IF_ERROR(jobs->FindUniform(job));
    jobs->DropSearchProbes();  // their streams make room for the held-out ones'
    if (!met.empty()) BB_RETURN_IF_ERROR(jobs->MakeHeldOutProbes());
    for (PlanJobs::Job* job : met) {
      BB_RETURN_IF_ERROR(jobs->CompareHeldOut(job));
      BB_RETURN_IF_ERROR(jobs->Continue(extras.continuations, job));
    }
    return met.empty() ? absl::OkStatus() : jobs->MeasureOthers(extras.others, others);
  };
  BB_RETURN_IF_ERROR(IgnoreCancelled(compare()));
  std::vector<PlanOutcome> outcomes;
  for (PlanJobs::Job* job : begun) {
    BB_ASSIGN_OR_RETURN(PlanOutcome outcome, jobs->Finish(job));
    outcomes.push_back(std::move(outcome));
  }
  jobs->FinishProgress();
  return outcomes;
}

absl::StatusOr<std::vector<PlanOutcome>> RunJobs(const Model& model,
                                                 std::span<const PlanOptions> options,
                                                 const HeldOutExtras& extras,
                                                 Run* run,
                                                 Progress* progress,
                                                 std::vector<Evaluation>* others,
                                                 MemoryPlan* memory) {
  PlanJobs jobs(model, run, progress);
  absl::StatusOr<std::vector<PlanOutcome>> outcomes =
      MakePlans(model, options, extras, run, others, memory, &jobs);
  BB_RETURN_IF_ERROR(jobs.End(outcomes.status()));
  return outcomes;
}

}  // namespace

const Scorer* PlanOptions::CostScorer() const {
  return costs == kOutputError ? nullptr : *FindScorer(costs);
}

int PlanOptions::SparsityPermille() const {
  const SparsityGoal* goal = std::get_if<SparsityGoal>(&limit);
  return goal != nullptr ? goal->target.permille : 0;
}

absl::Status PlanOptions::Validate() const {
  BB_RETURN_IF_ERROR(CheckMethod(*this));
  if (search_probes < 2 || held_out_probes < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("at least 2 search and 2 held-out probes are needed, not ",
                     search_probes,
                     " and ",
                     held_out_probes));
  }
  BB_RETURN_IF_ERROR(workspace.Validate());
  if (const Budget* budget = std::get_if<Budget>(&limit); budget != nullptr) {
    return BudgetCounts(*budget, budget_scope, constraints.target).status();
  }
  if (budget_scope.counts.has_value() || budget_scope.context.has_value()) {
    return absl::InvalidArgumentError(
        "a sparsity goal has no budget that could pay for a file or for memory");
  }
  return absl::OkStatus();
}

absl::StatusOr<plans::Plan> RunPlanJob(const Model& model,
                                       const PlanOptions& options,
                                       Progress* progress,
                                       Communicator* ranks,
                                       MemoryPlan* memory) {
  BB_RETURN_IF_ERROR(options.Validate());
  BB_ASSIGN_OR_RETURN(const PlanProblem made, MakePlanProblem(model, options));
  if (std::optional<plans::Plan> plan = PlanAsItIs(model, options, made); plan.has_value()) {
    return *std::move(plan);
  }
  Run run = ranks != nullptr ? Run(ranks) : Run();
  BB_ASSIGN_OR_RETURN(std::vector<PlanOutcome> outcomes,
                      RunJobs(model, {&options, 1}, {}, &run, progress, nullptr, memory));
  return std::move(outcomes[0].plan);
}

absl::StatusOr<std::vector<PlanOutcome>> RunPlanJobs(const Model& model,
                                                     std::span<const PlanOptions> jobs,
                                                     const HeldOutExtras& extras,
                                                     Progress* progress,
                                                     std::vector<Evaluation>* others,
                                                     MemoryPlan* memory) {
  Run run;
  return RunJobs(model, jobs, extras, &run, progress, others, memory);
}

}  // namespace bitbudget
