#include "planner/jobs/plan_job.h"

#include <glog/logging.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "planner/jobs/fallback.h"
#include "planner/jobs/feasibility.h"
#include "planner/jobs/held_out.h"
#include "planner/jobs/plan_preview.h"
#include "planner/jobs/plan_record.h"
#include "planner/jobs/plan_retraining.h"
#include "planner/jobs/plan_work.h"
#include "planner/jobs/search_methods.h"
#include "planner/jobs/staged_progress.h"
#include "planner/output/recovered_file.h"
#include "planner/runs/calibration.h"
#include "planner/runs/estimated_costs.h"
#include "planner/runs/move_costs.h"
#include "planner/runs/output_errors.h"
#include "planner/runs/run.h"
#include "planner/runs/shared_probes.h"
#include "planner/workspace/setup.h"
#include "runtime/base/status_macros.h"
#include "runtime/kernels/table.h"
#include "runtime/quantize/encoders.h"
#include "scoring/registry.h"

namespace bitbudget {
namespace {

// For the first estimate of the time left.
constexpr double kMeasuredSpeed_s = 0.05;

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

struct ProblemAndBudget {
  SearchProblem problem;
  std::optional<BudgetSplit> budget;  // none for a sparsity goal
};

absl::StatusOr<ProblemAndBudget> MakeProblem(const Model& model, const PlanOptions& options) {
  ProblemAndBudget made;
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

WorkspaceNeeds WorkspaceNeedsOf(const PlanOptions& options,
                                const SearchProblem& problem,
                                int64_t ranks) {
  WorkspaceNeeds needs;
  needs.roles = {ProbeRole::kSearch, ProbeRole::kHeldOut};
  // Every rank has its share of the probes.
  needs.search_probes = (options.search_probes + ranks - 1) / ranks;
  needs.held_out_probes = (options.held_out_probes + ranks - 1) / ranks;
  if (NeedsCalibrationPrompts(options)) needs.calibration_probes = options.search_probes;
  if (options.retraining.has_value()) {
    needs.roles.push_back(ProbeRole::kCalibration);
    needs.calibration_probes = RetrainingSequences(*options.retraining);
  }
  needs.gradient_probes = GradientProbes(options);
  for (const std::vector<Choice>& ladder : problem.ladders) {
    needs.gradient_formats = std::max(needs.gradient_formats, static_cast<int64_t>(ladder.size()));
  }
  needs.evaluators = NeedsOf(options).text ? 2 : 1;
  return needs;
}

// Opens the run and describes the job in its store; the number of the job there, if any.
absl::StatusOr<std::optional<int64_t>> BeginRun(const PlanOptions& options,
                                                const ProbedWorkspace& ready,
                                                Run* run,
                                                Progress* progress) {
  const Model& model = ready.workspace->model();
  BB_RETURN_IF_ERROR(
      run->Begin(options.run_dir, RunIdentity(model, options.workspace, *ready.maker), progress));
  if (run->store() == nullptr) return std::optional<int64_t>();
  BB_RETURN_IF_ERROR(run->store()->DescribeModel(
      model.components(), StoredAssignment(model), model.fixed_bytes()));
  BB_ASSIGN_OR_RETURN(const int64_t job, run->store()->BeginJob(JobText(options)));
  return std::optional<int64_t>(job);
}

struct SearchInputs {
  const PlanOptions& options;
  const SearchProblem& problem;
  const ProbedWorkspace& ready;
  SharedProbes* probes;
  Run* run;
  Retrainer* retrainer;  // or null
  Progress* progress;
};

struct SearchResult {
  SearchSummary summary;
  CostTable errors;
};

// Gives the method what it needs and runs it. An interruption before any candidate that fits leaves
// the fallback as the result.
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
      BB_ASSIGN_OR_RETURN(EstimatedCosts estimated,
                          EstimateCosts(*scorer,
                                        predicts_moves,
                                        in.problem,
                                        in.probes->sequences(),
                                        workspace,
                                        in.run,
                                        in.progress));
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

// The comparison on held-out probes; none when the search or the comparison was interrupted.
// `search_probes` is released before held-out probes are made: its streams make room for them.
absl::StatusOr<std::optional<HeldOutComparison>> CompareIfMet(
    const HeldOutContext& context,
    const SearchSummary& summary,
    std::unique_ptr<SharedProbes> search_probes) {
  if (summary.outcome != SearchOutcome::kBudgetMet) return std::optional<HeldOutComparison>();
  const auto compare = [&]() -> absl::StatusOr<HeldOutComparison> {
    context.workspace->UseWeights(nullptr);
    search_probes->WeightsChanged();
    BB_ASSIGN_OR_RETURN(const std::optional<Format> uniform,
                        BestUniform(context, search_probes->evaluator()));
    search_probes.reset();
    return CompareHeldOut(context, summary.assignment, uniform);
  };
  absl::StatusOr<HeldOutComparison> compared = compare();
  if (absl::IsCancelled(compared.status())) return std::optional<HeldOutComparison>();
  BB_RETURN_IF_ERROR(compared.status());
  return std::optional<HeldOutComparison>(*std::move(compared));
}

// What every changed component's encoding must be when it is made again, for encoders whose codes
// depend on calibration inputs that the plan does not hold.
absl::StatusOr<std::vector<std::string>> HashEncodings(const Assignment& assignment,
                                                       Workspace* workspace) {
  std::vector<std::string> hashes;
  if (!(*FindEncoder(workspace->options().encoder))->learns_from_text &&
      !workspace->encoder()->NeedsFisher()) {
    return hashes;
  }
  for (size_t c = 0; c < assignment.size(); ++c) {
    const ComponentId id = static_cast<ComponentId>(c);
    hashes.emplace_back();
    if (assignment[c] == workspace->bank()->StoredFormat(id)) continue;
    BB_ASSIGN_OR_RETURN(const Encoding encoding, workspace->bank()->Encoded({id, assignment[c]}));
    hashes.back() = EncodingSha256(encoding);
  }
  return hashes;
}

// Encodes what was trained and writes it beside the plan, which is told of it, before the plan
// itself is written.
absl::Status WriteTrained(const Model& model,
                          const PlanOptions& options,
                          PlanRetraining* retraining,
                          PlanFindings* findings) {
  BB_ASSIGN_OR_RETURN(const ComponentEncodings encodings, retraining->Encode(findings->assignment));
  std::optional<RecoveryMeasurements> held_out;
  if (findings->held_out.has_value()) held_out = findings->held_out->training;
  plans::Recovery& recovery = findings->recovery.emplace(retraining->Record(held_out));
  const std::string path = RecoveredFileFor(options.out);
  recovery.set_weights_file(std::filesystem::path(path).filename().string());
  findings->encoding_sha256.assign(findings->assignment.size(), "");
  for (const auto& [id, encoding] : encodings) {
    findings->encoding_sha256[id] = EncodingSha256(encoding);
  }
  Progress unseen;  // an interruption is no reason not to write
  BB_ASSIGN_OR_RETURN(*recovery.mutable_weights_sha256(),
                      WriteRecoveredFile(model, encodings, {}, path, &unseen));
  return absl::OkStatus();
}

// The job from the problem to the plan. `job` is set to its number in the run's store.
absl::StatusOr<plans::Plan> MakePlan(const Model& model,
                                     const PlanOptions& options,
                                     Run* run,
                                     std::optional<int64_t>* job,
                                     MemoryPlan* memory,
                                     Progress* progress) {
  BB_RETURN_IF_ERROR(options.Validate());
  if (options.retraining.has_value() && run->ranks().size() > 1) {
    return absl::InvalidArgumentError("retraining runs in one process, not in several");
  }
  BB_ASSIGN_OR_RETURN(const PlanSetup made, SetUpPlan(model, options, run->ranks().size()));
  const SearchProblem& problem = made.problem;
  const ProbedWorkspace& ready = made.ready;
  if (memory != nullptr) *memory = ready.memory;
  VLOG(1) << "kernels " << Kernels().name << ", " << problem.components.size()
          << " components, at most " << problem.MaxBytes() << " bytes, at least "
          << problem.SmallestBytes();
  Workspace* const workspace = ready.workspace.get();
  BB_ASSIGN_OR_RETURN(*job, BeginRun(options, ready, run, progress));
  progress->Message(ready.memory.Describe());
  const PlanWork work = WorkOf(model, options, problem, *ready.maker, run->ranks().size());
  StagedProgress staged(work, MeasurePassSeconds(work.pass, workspace, kMeasuredSpeed_s), progress);
  progress = &staged;

  PlanFindings findings;
  findings.budget = made.budget;
  BB_ASSIGN_OR_RETURN(findings.calibration,
                      CalibrateEncoder(*ready.maker, workspace, run, progress));
  BB_ASSIGN_OR_RETURN(
      std::unique_ptr<SharedProbes> probes,
      SharedProbes::Create(
          *ready.maker, ProbeRole::kSearch, options.search_probes, workspace, run, progress));
  findings.search_probes = probes->size();
  std::optional<PlanRetraining> retraining;
  if (options.retraining.has_value()) {
    retraining.emplace(
        PlanRetrainingContext{options, *ready.maker, workspace, probes.get(), run, progress});
  }
  BB_ASSIGN_OR_RETURN(SearchResult found,
                      RunSearch({options,
                                 problem,
                                 ready,
                                 probes.get(),
                                 run,
                                 retraining.has_value() ? &*retraining : nullptr,
                                 progress}));
  findings.search = std::move(found.summary);
  findings.errors = std::move(found.errors);
  CHECK(problem.Fits(findings.search.assignment));
  if (run->store() != nullptr) {
    BB_RETURN_IF_ERROR(run->store()->PutTrace(**job, findings.search.trace));
  }

  // Without a result that was evaluated, the plan is of the model's weights.
  const TrainedWeights* trained = nullptr;
  if (retraining.has_value() && !findings.search.evaluation.empty()) {
    trained = retraining->weights();
  }
  const HeldOutContext held_out{&problem,
                                Objective(options.objective),
                                ready.maker.get(),
                                options.held_out_probes,
                                workspace,
                                run,
                                progress,
                                trained};
  BB_ASSIGN_OR_RETURN(findings.held_out,
                      CompareIfMet(held_out, findings.search, std::move(probes)));
  findings.assignment =
      findings.held_out.has_value() ? findings.held_out->emitted : findings.search.assignment;
  if (trained != nullptr &&
      !(findings.held_out.has_value() && findings.held_out->uniform_emitted)) {
    BB_RETURN_IF_ERROR(WriteTrained(model, options, &*retraining, &findings));
  } else {
    workspace->UseWeights(nullptr);
    BB_ASSIGN_OR_RETURN(findings.encoding_sha256, HashEncodings(findings.assignment, workspace));
  }
  staged.Finish();
  return ToPlan(model, options, *ready.maker, problem, findings);
}

}  // namespace

absl::StatusOr<PlanSetup> SetUpPlan(const Model& model, const PlanOptions& options, int64_t ranks) {
  BB_RETURN_IF_ERROR(options.Validate());
  BB_ASSIGN_OR_RETURN(ProblemAndBudget made, MakeProblem(model, options));
  BB_ASSIGN_OR_RETURN(
      ProbedWorkspace ready,
      SetUpWorkspace(model, options.workspace, WorkspaceNeedsOf(options, made.problem, ranks)));
  return PlanSetup{std::move(made.problem), std::move(made.budget), std::move(ready)};
}

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
  std::optional<int64_t> job;
  absl::StatusOr<plans::Plan> plan = MakePlan(model, options, &run, &job, memory, progress);
  RunStore* const store = run.store();
  if (store == nullptr) return plan;
  if (job.has_value()) {
    const char* state = !plan.ok() ? "failed" : plan->complete() ? "complete" : "interrupted";
    const absl::Status ended = store->EndJob(*job, state);
    if (plan.ok() && !ended.ok()) return ended;
  }
  if (!plan.ok()) {
    store->RemoveIf(absl::IsCancelled(plan.status()) ? RunStore::Empty::kNoResultsAndNoValues
                                                     : RunStore::Empty::kNoResults);
  }
  return plan;
}

}  // namespace bitbudget
