#include "planner/jobs/plan_job.h"

#include <glog/logging.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "planner/jobs/held_out.h"
#include "planner/jobs/plan_encodings.h"
#include "planner/jobs/plan_preview.h"
#include "planner/jobs/plan_problem.h"
#include "planner/jobs/plan_record.h"
#include "planner/jobs/plan_retraining.h"
#include "planner/jobs/plan_search.h"
#include "planner/jobs/plan_work.h"
#include "planner/jobs/search_methods.h"
#include "planner/jobs/staged_progress.h"
#include "planner/runs/calibration.h"
#include "planner/runs/output_errors.h"
#include "planner/runs/run.h"
#include "planner/runs/shared_probes.h"
#include "planner/workspace/setup.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/table.h"
#include "scoring/registry.h"

namespace bitbudget {
namespace {

// For the first estimate of the time left.
constexpr double kMeasuredSpeed_s = 0.05;

// A job on its way.
struct Job {
  const PlanOptions& options;
  PlanProblem made;
  std::optional<int64_t> id = {};  // in the run's store
  PlanFindings findings = {};
  std::optional<Format> uniform = {};  // the best that meets the limit
  std::vector<Continuation> continuations = {};

  bool met() const { return findings.search.outcome == SearchOutcome::kBudgetMet; }
};

// Opens the run and describes the jobs in its store.
absl::Status BeginRun(const ProbedWorkspace& ready,
                      std::span<Job> jobs,
                      Run* run,
                      Progress* progress) {
  const Model& model = ready.workspace->model();
  const PlanOptions& options = jobs[0].options;
  BB_RETURN_IF_ERROR(
      run->Begin(options.run_dir, RunIdentity(model, options.workspace, *ready.maker), progress));
  if (run->store() == nullptr) return absl::OkStatus();
  BB_RETURN_IF_ERROR(run->store()->DescribeModel(
      model.components(), StoredAssignment(model), model.fixed_bytes()));
  for (Job& job : jobs) {
    BB_ASSIGN_OR_RETURN(job.id, run->store()->BeginJob(JobText(job.options)));
  }
  return absl::OkStatus();
}

// The jobs from their problems to their plans, as members because their parts share nearly all.
class PlanJobs {
 public:
  PlanJobs(const Model& model,
           std::span<const PlanOptions> options,
           const HeldOutExtras& extras,
           Run* run,
           Progress* progress)
      : model_(model), options_(options), extras_(extras), run_(*run), progress_(progress) {}

  absl::StatusOr<std::vector<PlanOutcome>> Make(MemoryPlan* memory) {
    BB_RETURN_IF_ERROR(SetUp(memory));
    for (Job& job : jobs_) {
      const absl::Status searched = Search(&job);
      if (absl::IsCancelled(searched) && begun_ > 0) break;
      BB_RETURN_IF_ERROR(searched);
      ++begun_;
      if (!job.met()) break;
    }
    BB_RETURN_IF_ERROR(IgnoreCancelled(Compare()));
    std::vector<PlanOutcome> outcomes;
    for (Job& job : std::span(jobs_).first(begun_)) {
      BB_ASSIGN_OR_RETURN(PlanOutcome outcome, Finish(&job));
      outcomes.push_back(std::move(outcome));
    }
    if (staged_.has_value()) staged_->Finish();
    return outcomes;
  }

  // Of the extras' others, those that were measured.
  std::vector<Evaluation> TakeOthers() { return std::move(others_); }

  // Says in the run's store how the jobs ended.
  absl::Status End(const absl::StatusOr<std::vector<PlanOutcome>>& outcomes) {
    RunStore* const store = run_.store();
    if (store == nullptr) return absl::OkStatus();
    for (size_t i = 0; i < jobs_.size(); ++i) {
      if (!jobs_[i].id.has_value()) continue;
      const bool begun = outcomes.ok() && i < outcomes->size();
      const char* state = !outcomes.ok()                            ? "failed"
                          : begun && (*outcomes)[i].plan.complete() ? "complete"
                                                                    : "interrupted";
      const absl::Status ended = store->EndJob(*jobs_[i].id, state);
      if (outcomes.ok()) BB_RETURN_IF_ERROR(ended);
    }
    if (!outcomes.ok()) {
      store->RemoveIf(absl::IsCancelled(outcomes.status()) ? RunStore::Empty::kNoResultsAndNoValues
                                                           : RunStore::Empty::kNoResults);
    }
    return absl::OkStatus();
  }

 private:
  static absl::Status IgnoreCancelled(const absl::Status& status) {
    return absl::IsCancelled(status) ? absl::OkStatus() : status;
  }

  absl::Status SetUp(MemoryPlan* memory) {
    for (const PlanOptions& options : options_) {
      BB_RETURN_IF_ERROR(options.Validate());
      if (options.retraining.has_value() && run_.ranks().size() > 1) {
        return absl::InvalidArgumentError("retraining runs in one process, not in several");
      }
      BB_ASSIGN_OR_RETURN(PlanProblem made, MakePlanProblem(model_, options));
      jobs_.push_back({options, std::move(made)});
    }
    const PlanOptions& options = options_[0];
    WorkspaceNeeds needs;
    for (const Job& job : jobs_) {
      AddWorkspaceNeeds(job.options, job.made.problem, run_.ranks().size(), &needs);
    }
    BB_ASSIGN_OR_RETURN(ready_, SetUpWorkspace(model_, options.workspace, needs));
    if (memory != nullptr) *memory = ready_.memory;
    VLOG(1) << "kernels " << Kernels().name << ", " << model_.components().size() << " components";
    BB_RETURN_IF_ERROR(BeginRun(ready_, std::span(jobs_), &run_, progress_));
    progress_->Message(ready_.memory.Describe());
    std::vector<JobToDo> to_do;
    for (const Job& job : jobs_) to_do.push_back({&job.options, &job.made.problem});
    const PlanWork work = WorkOf(model_, to_do, extras_, *ready_.maker, run_.ranks().size());
    staged_.emplace(work, MeasurePassSeconds(work.pass, workspace(), kMeasuredSpeed_s), progress_);
    progress_ = &*staged_;
    BB_ASSIGN_OR_RETURN(calibration_,
                        CalibrateEncoder(*ready_.maker, workspace(), &run_, progress_));
    BB_ASSIGN_OR_RETURN(probes_,
                        SharedProbes::Create(*ready_.maker,
                                             ProbeRole::kSearch,
                                             options.search_probes,
                                             workspace(),
                                             &run_,
                                             progress_));
    if (options.retraining.has_value()) {
      retraining_.emplace(PlanRetrainingContext{
          options, *ready_.maker, workspace(), probes_.get(), &run_, progress_});
    }
    return absl::OkStatus();
  }

  absl::Status Search(Job* job) {
    staged_->BeginJob(static_cast<int>(begun_));
    PlanFindings& findings = job->findings;
    findings.budget = job->made.budget;
    findings.calibration = calibration_;
    findings.search_probes = probes_->size();
    BB_ASSIGN_OR_RETURN(SearchResult found,
                        RunSearch({job->options,
                                   job->made.problem,
                                   ready_,
                                   probes_.get(),
                                   &run_,
                                   retraining_.has_value() ? &*retraining_ : nullptr,
                                   progress_}));
    findings.search = std::move(found.summary);
    findings.errors = std::move(found.errors);
    CHECK(job->made.problem.Fits(findings.search.assignment));
    if (run_.store() != nullptr) {
      BB_RETURN_IF_ERROR(run_.store()->PutTrace(*job->id, findings.search.trace));
    }
    // Without a result that was evaluated, the plan is of the model's weights.
    if (retraining_.has_value() && !findings.search.evaluation.empty()) {
      trained_ = retraining_->weights();
    }
    return absl::OkStatus();
  }

  HeldOutContext ContextOf(const Job& job) {
    return {&job.made.problem,
            Objective(job.options.objective),
            ready_.maker.get(),
            job.options.held_out_probes,
            workspace(),
            &run_,
            progress_,
            trained_};
  }

  // kCancelled on an interruption; what was compared until then stays.
  absl::Status Compare() {
    const std::span<Job> begun = std::span(jobs_).first(begun_);
    workspace()->UseWeights(nullptr);
    if (trained_ != nullptr) probes_->WeightsChanged();
    bool any = false;
    for (Job& job : begun) {
      if (!job.met()) continue;
      HeldOutContext context = ContextOf(job);
      CostTable estimates;
      if (!job.findings.errors.empty() && job.options.CostScorer() != nullptr) {
        estimates = SumOverUnits(job.made.problem, job.findings.errors);
        context.estimates = &estimates;
      }
      BB_ASSIGN_OR_RETURN(job.uniform, BestUniform(context, probes_->evaluator()));
      any = true;
    }
    probes_.reset();  // their streams make room for the held-out ones'
    if (!any) return absl::OkStatus();
    BB_ASSIGN_OR_RETURN(const HeldOutProbes held_out, HeldOutProbes::Create(ContextOf(begun[0])));
    for (Job& job : begun) {
      if (!job.met()) continue;
      BB_ASSIGN_OR_RETURN(
          job.findings.held_out,
          CompareHeldOut(ContextOf(job), held_out, job.findings.search.assignment, job.uniform));
      BB_RETURN_IF_ERROR(Continue(*held_out.set(), &job));
    }
    return MeasureOthers(held_out.set());
  }

  absl::Status MeasureOthers(SharedProbes* probes) {
    if (extras_.others.empty()) return absl::OkStatus();
    workspace()->UseWeights(nullptr);
    progress_->Begin("others", static_cast<int64_t>(extras_.others.size()));
    for (const std::variant<const Model*, Assignment>& other : extras_.others) {
      const Model* const* const file = std::get_if<const Model*>(&other);
      BB_ASSIGN_OR_RETURN(Evaluation evaluation,
                          file != nullptr
                              ? probes->EvaluateModel(**file)
                              : probes->EvaluateFromScratch(std::get<Assignment>(other)));
      others_.push_back(std::move(evaluation));
      progress_->Update(static_cast<int64_t>(others_.size()));
    }
    progress_->End();
    return absl::OkStatus();
  }

  // What the plan writes after the prompts of the first held-out probes, beside the reference.
  absl::Status Continue(const SharedProbes& held_out, Job* job) {
    const std::vector<Probe>& probes = held_out.own_probes();
    const size_t count = std::min(static_cast<size_t>(extras_.continuations), probes.size());
    if (count == 0) return absl::OkStatus();
    std::vector<std::vector<int32_t>> prompts;
    for (const Probe& probe : std::span(probes).first(count)) {
      prompts.emplace_back(probe.tokens.begin(), probe.tokens.begin() + probe.prompt);
      job->continuations.push_back(
          {prompts.back(), {probe.tokens.begin() + probe.prompt, probe.tokens.end()}, {}});
    }
    GenerateOptions generate;
    generate.max_tokens = ready_.maker->completion_tokens();
    generate.threads = workspace()->options().threads;
    generate.max_kv_bytes = workspace()->memory().states;
    AssignmentWeights weights = workspace()->bank()->Weights(job->findings.held_out->emitted);
    progress_->Begin("continuations", static_cast<int64_t>(count));
    BB_ASSIGN_OR_RETURN(
        const std::vector<Generation> written,
        Generate(workspace()->transformer(), &weights, prompts, generate, progress_));
    progress_->End();
    for (size_t i = 0; i < count; ++i) job->continuations[i].plan = written[i].tokens;
    return absl::OkStatus();
  }

  absl::StatusOr<PlanOutcome> Finish(Job* job) {
    PlanFindings& findings = job->findings;
    const bool uniform = findings.held_out.has_value() && findings.held_out->uniform_emitted;
    findings.assignment =
        findings.held_out.has_value() ? findings.held_out->emitted : findings.search.assignment;
    if (trained_ != nullptr && !uniform) {
      BB_RETURN_IF_ERROR(WriteTrained(model_, job->options, &*retraining_, &findings));
    } else {
      workspace()->UseWeights(nullptr);
      BB_ASSIGN_OR_RETURN(findings.encoding_sha256,
                          HashEncodings(findings.assignment, workspace()));
    }
    PlanOutcome outcome;
    outcome.plan = ToPlan(model_, job->options, *ready_.maker, job->made.problem, findings);
    outcome.assignment = std::move(findings.assignment);
    outcome.problem = std::move(job->made.problem);
    outcome.costs = std::move(findings.errors);
    outcome.found = std::move(findings.search.assignment);
    outcome.continuations = std::move(job->continuations);
    if (!findings.held_out.has_value()) return outcome;
    outcome.found_evaluation = findings.held_out->evaluation;
    if (findings.held_out->uniform.has_value()) {
      outcome.uniform_evaluation = findings.held_out->uniform->evaluation;
    }
    outcome.evaluation = uniform ? outcome.uniform_evaluation : findings.held_out->evaluation;
    return outcome;
  }

  Workspace* workspace() { return ready_.workspace.get(); }

  const Model& model_;
  const std::span<const PlanOptions> options_;
  const HeldOutExtras& extras_;
  std::vector<Evaluation> others_;
  Run& run_;
  Progress* progress_;
  std::optional<StagedProgress> staged_;
  std::vector<Job> jobs_;
  size_t begun_ = 0;  // jobs whose search has a result
  ProbedWorkspace ready_;
  EncoderCalibration calibration_;
  std::unique_ptr<SharedProbes> probes_;
  std::optional<PlanRetraining> retraining_;
  const TrainedWeights* trained_ = nullptr;
};

absl::StatusOr<std::vector<PlanOutcome>> RunJobs(const Model& model,
                                                 std::span<const PlanOptions> options,
                                                 const HeldOutExtras& extras,
                                                 Run* run,
                                                 Progress* progress,
                                                 std::vector<Evaluation>* others,
                                                 MemoryPlan* memory) {
  PlanJobs jobs(model, options, extras, run, progress);
  absl::StatusOr<std::vector<PlanOutcome>> outcomes = jobs.Make(memory);
  BB_RETURN_IF_ERROR(jobs.End(outcomes));
  if (others != nullptr) *others = jobs.TakeOthers();
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
