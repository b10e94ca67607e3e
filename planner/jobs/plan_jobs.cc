#include "planner/jobs/plan_jobs.h"

#include <glog/logging.h>

#include <algorithm>
#include <span>
#include <utility>

#include "planner/jobs/plan_encodings.h"
#include "planner/jobs/plan_preview.h"
#include "planner/runs/output_errors.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/table.h"

namespace bitbudget {
namespace {

// For the first estimate of the time left.
constexpr double kMeasuredSpeed_s = 0.05;

}  // namespace

absl::Status PlanJobs::SetUp(const PlanOptions& options,
                             const WorkspaceNeeds& needs,
                             MemoryPlan* memory) {
  shared_ = options;
  BB_ASSIGN_OR_RETURN(ready_, SetUpWorkspace(model_, options.workspace, needs));
  if (memory != nullptr) *memory = ready_.memory;
  VLOG(1) << "kernels " << Kernels().name << ", " << model_.components().size() << " components";
  BB_RETURN_IF_ERROR(run_.Begin(
      options.run_dir, RunIdentity(model_, options.workspace, *ready_.maker), progress_));
  if (run_.store() != nullptr) {
    BB_RETURN_IF_ERROR(run_.store()->DescribeModel(
        model_.components(), StoredAssignment(model_), model_.fixed_bytes()));
  }
  return absl::OkStatus();
}

void PlanJobs::Stage(const PlanWork& work) {
  staged_.emplace(work, MeasurePassSeconds(work.pass, workspace(), kMeasuredSpeed_s), progress_);
  progress_ = &*staged_;
}

absl::Status PlanJobs::Prepare() {
  BB_ASSIGN_OR_RETURN(calibration_, CalibrateEncoder(*ready_.maker, workspace(), &run_, progress_));
  BB_ASSIGN_OR_RETURN(
      probes_,
      SharedProbes::Create(
          *ready_.maker, ProbeRole::kSearch, shared_.search_probes, workspace(), &run_, progress_));
  if (shared_.retraining.has_value()) {
    retraining_.emplace(PlanRetrainingContext{
        shared_, *ready_.maker, workspace(), probes_.get(), &run_, progress_});
  }
  return absl::OkStatus();
}

absl::StatusOr<PlanJobs::Job*> PlanJobs::Add(const PlanOptions& options, PlanProblem made) {
  Job job{options, std::move(made)};
  if (run_.store() != nullptr) {
    BB_ASSIGN_OR_RETURN(job.id, run_.store()->BeginJob(JobText(options)));
  }
  return &jobs_.emplace_back(std::move(job));
}

absl::StatusOr<SearchResult> PlanJobs::Try(const PlanOptions& options,
                                           const SearchProblem& problem) {
  return RunSearch({options,
                    problem,
                    ready_,
                    probes_.get(),
                    &run_,
                    retraining_.has_value() ? &*retraining_ : nullptr,
                    progress_});
}

absl::Status PlanJobs::Search(Job* job) {
  PlanFindings& findings = job->findings;
  findings.budget = job->made.budget;
  findings.calibration = calibration_;
  findings.search_probes = probes_->size();
  BB_ASSIGN_OR_RETURN(SearchResult found, Try(job->options, job->made.problem));
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

HeldOutContext PlanJobs::ContextOf(const Job& job) {
  return {&job.made.problem,
          Objective(job.options.objective),
          ready_.maker.get(),
          job.options.held_out_probes,
          workspace(),
          &run_,
          progress_,
          trained_};
}

absl::Status PlanJobs::FindUniform(Job* job) {
  workspace()->UseWeights(nullptr);
  if (trained_ != nullptr) probes_->WeightsChanged();
  HeldOutContext context = ContextOf(*job);
  CostTable estimates;
  if (!job->findings.errors.empty() && job->options.CostScorer() != nullptr) {
    estimates = SumOverUnits(job->made.problem, job->findings.errors);
    context.estimates = &estimates;
  }
  BB_ASSIGN_OR_RETURN(job->uniform, BestUniform(context, probes_->evaluator()));
  return absl::OkStatus();
}

absl::Status PlanJobs::MakeHeldOutProbes() {
  HeldOutContext context;
  context.maker = ready_.maker.get();
  context.probes = shared_.held_out_probes;
  context.workspace = workspace();
  context.run = &run_;
  context.progress = progress_;
  BB_ASSIGN_OR_RETURN(held_out_, HeldOutProbes::Create(context));
  return absl::OkStatus();
}

absl::Status PlanJobs::CompareHeldOut(Job* job,
                                      const std::function<bool(const Evaluation&)>& acceptable) {
  HeldOutContext context = ContextOf(*job);
  context.acceptable = acceptable;
  BB_ASSIGN_OR_RETURN(job->findings.held_out,
                      bitbudget::CompareHeldOut(
                          context, *held_out_, job->findings.search.assignment, job->uniform));
  return absl::OkStatus();
}

absl::Status PlanJobs::Continue(int64_t count, Job* job) {
  const std::vector<Probe>& probes = held_out_->set()->own_probes();
  const size_t prompted = std::min(static_cast<size_t>(count), probes.size());
  if (prompted == 0) return absl::OkStatus();
  std::vector<std::vector<int32_t>> prompts;
  for (const Probe& probe : std::span(probes).first(prompted)) {
    prompts.emplace_back(probe.tokens.begin(), probe.tokens.begin() + probe.prompt);
    job->continuations.push_back(
        {prompts.back(), {probe.tokens.begin() + probe.prompt, probe.tokens.end()}, {}});
  }
  GenerateOptions generate;
  generate.max_tokens = ready_.maker->completion_tokens();
  generate.threads = workspace()->options().threads;
  generate.max_kv_bytes = workspace()->memory().states;
  AssignmentWeights weights = workspace()->bank()->Weights(job->findings.held_out->emitted);
  progress_->Begin("continuations", static_cast<int64_t>(prompted));
  BB_ASSIGN_OR_RETURN(const std::vector<Generation> written,
                      Generate(workspace()->transformer(), &weights, prompts, generate, progress_));
  progress_->End();
  for (size_t i = 0; i < prompted; ++i) job->continuations[i].plan = written[i].tokens;
  return absl::OkStatus();
}

absl::Status PlanJobs::MeasureOthers(std::span<const std::variant<const Model*, Assignment>> others,
                                     std::vector<Evaluation>* evaluations) {
  if (others.empty()) return absl::OkStatus();
  SharedProbes* const probes = held_out_->set();
  workspace()->UseWeights(nullptr);
  progress_->Begin("others", static_cast<int64_t>(others.size()));
  for (size_t i = 0; i < others.size(); ++i) {
    const Model* const* const file = std::get_if<const Model*>(&others[i]);
    BB_ASSIGN_OR_RETURN(Evaluation evaluation,
                        file != nullptr
                            ? probes->EvaluateModel(**file)
                            : probes->EvaluateFromScratch(std::get<Assignment>(others[i])));
    if (evaluations != nullptr) evaluations->push_back(std::move(evaluation));
    progress_->Update(static_cast<int64_t>(i) + 1);
  }
  progress_->End();
  return absl::OkStatus();
}

absl::StatusOr<PlanOutcome> PlanJobs::Finish(Job* job) {
  PlanFindings& findings = job->findings;
  const bool uniform = findings.held_out.has_value() && findings.held_out->uniform_emitted;
  findings.assignment =
      findings.held_out.has_value() ? findings.held_out->emitted : findings.search.assignment;
  if (trained_ != nullptr && !uniform) {
    BB_RETURN_IF_ERROR(WriteTrained(model_, job->options, &*retraining_, &findings));
  } else {
    workspace()->UseWeights(nullptr);
    BB_ASSIGN_OR_RETURN(findings.encoding_sha256, HashEncodings(findings.assignment, workspace()));
  }
  job->complete = findings.held_out.has_value();
  PlanOutcome outcome;
  outcome.plan = ToPlan(model_, job->options, ready_.maker.get(), job->made.problem, findings);
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

absl::Status PlanJobs::End(const absl::Status& status) {
  RunStore* const store = run_.store();
  if (store == nullptr) return absl::OkStatus();
  for (const Job& job : jobs_) {
    const char* state = !status.ok() ? "failed" : job.complete ? "complete" : "interrupted";
    const absl::Status ended = store->EndJob(*job.id, state);
    if (status.ok()) BB_RETURN_IF_ERROR(ended);
  }
  if (!status.ok()) {
    store->RemoveIf(absl::IsCancelled(status) ? RunStore::Empty::kNoResultsAndNoValues
                                              : RunStore::Empty::kNoResults);
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
