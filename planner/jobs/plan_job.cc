#include "planner/jobs/plan_job.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "planner/jobs/plan_record.h"
#include "planner/jobs/search_methods.h"
#include "planner/runs/calibration.h"
#include "planner/runs/measure.h"
#include "planner/runs/messages.h"
#include "planner/runs/output_errors.h"
#include "planner/runs/run.h"
#include "planner/runs/shared_probes.h"
#include "planner/workspace/workspace.h"
#include "plans/plan_io.h"
#include "runtime/base/status_macros.h"
#include "runtime/eval/perplexity.h"
#include "runtime/kernels/table.h"
#include "search/typical_error.h"
#include "search/uniform.h"

namespace bitbudget {
namespace {

// One run of RunPlanJob.
class PlanJob {
 public:
  PlanJob(const Model& model,
          const PlanOptions& options,
          Progress* progress,
          Communicator* ranks,
          MemoryPlan* memory)
      : model_(model),
        options_(options),
        progress_(progress),
        memory_(memory),
        objective_(options.objective),
        run_(ranks != nullptr ? Run(ranks) : Run()) {}

  absl::StatusOr<plans::Plan> Execute() {
    absl::StatusOr<plans::Plan> plan = Work();
    if (RunStore* store = run_.store(); store != nullptr) {
      const char* state = !plan.ok() ? "failed" : plan->complete() ? "complete" : "interrupted";
      if (job_.has_value()) {
        const absl::Status ended = store->EndJob(*job_, state);
        if (plan.ok() && !ended.ok()) return ended;
      }
      if (!plan.ok()) {
        store->RemoveIf(absl::IsCancelled(plan.status()) ? RunStore::Empty::kNoResultsAndNoValues
                                                         : RunStore::Empty::kNoResults);
      }
    }
    return plan;
  }

 private:
  absl::StatusOr<plans::Plan> Work() {
    BB_RETURN_IF_ERROR(options_.Validate());
    BB_ASSIGN_OR_RETURN(
        const BudgetSplit budget,
        SplitBudget(model_, options_.budget, options_.budget_scope, options_.constraints.target));
    BB_ASSIGN_OR_RETURN(const Constraints constraints, ConstraintsOf());
    BB_ASSIGN_OR_RETURN(problem_, BuildProblem(model_, constraints, budget.weight_bytes));
    if (options_.sparsity_permille > 0) {
      problem_.limit = SparsityTarget{options_.sparsity_permille};
    }
    BB_RETURN_IF_ERROR(CheckFeasible(problem_, model_.parameter_count()));
    BB_ASSIGN_OR_RETURN(maker_, ProbeMaker::Create(model_, options_.probes));
    for (const ProbeRole role : {ProbeRole::kSearch, ProbeRole::kHeldOut}) {
      BB_RETURN_IF_ERROR(maker_->CheckRole(role));
    }
    BB_ASSIGN_OR_RETURN(const MemoryPlan memory, MakeWorkspace());
    DescribeJob(model_, options_, problem_, budget, *maker_, &plan_);
    VLOG(1) << "kernels " << Kernels().name << ", " << problem_.components.size()
            << " components, budget " << budget.weight_bytes << " bytes, smallest "
            << problem_.SmallestBytes();

    BB_RETURN_IF_ERROR(BeginRun());
    progress_->Message(memory.Describe());
    BB_RETURN_IF_ERROR(CalibrateEncoder(*maker_, workspace_.get(), &run_, progress_, &plan_));
    BB_ASSIGN_OR_RETURN(search_set_, MakeProbes(ProbeRole::kSearch, options_.search_probes));
    plan_.mutable_options()->set_search_probes(search_set_->size());
    BB_ASSIGN_OR_RETURN(
        const std::unique_ptr<SearchMethod> method,
        MakeMethod(options_, problem_, *maker_, workspace_.get(), &run_, progress_));
    SearchContext context{
        &problem_, search_set_->evaluator(), progress_, workspace_->bank()->StoredAssignment()};
    CostTable unit_errors;
    std::unique_ptr<SharedProbes> text_set;
    if (NeedsOf(options_).text) {
      BB_ASSIGN_OR_RETURN(text_set,
                          SharedProbes::Create(*maker_,
                                               ProbeRole::kSearch,
                                               options_.search_probes,
                                               workspace_.get(),
                                               &run_,
                                               progress_,
                                               SharedProbes::Completions::kText));
      context.text = text_set->evaluator();
    }
    if (NeedsOf(options_).output_errors) {
      BB_ASSIGN_OR_RETURN(
          errors_, MeasureOutputErrors(problem_, *maker_, workspace_.get(), &run_, progress_));
      unit_errors = SumOverUnits(problem_, errors_);
      context.errors = &unit_errors;
    }
    BB_ASSIGN_OR_RETURN(SearchSummary summary, method->Run(context));
    text_set.reset();
    if (summary.outcome == SearchOutcome::kInfeasible) return MethodInfeasible();
    if (summary.assignment.empty()) summary.assignment = UnmeasuredAssignment();
    CHECK(problem_.Fits(summary.assignment));
    DescribeSearch(model_, summary, &plan_);
    if (run_.store() != nullptr) {
      BB_RETURN_IF_ERROR(run_.store()->PutTrace(*job_, summary.trace));
    }
    VLOG(1) << summary.BriefReport();

    Assignment assignment = summary.assignment;
    bool complete = summary.outcome == SearchOutcome::kBudgetMet;
    if (complete) {
      Assignment emitted = assignment;
      const absl::Status compared = CompareHeldOut(&emitted);
      complete = compared.ok();
      if (!complete && !absl::IsCancelled(compared)) return compared;
      if (complete) assignment = std::move(emitted);
    }
    if (!complete) plan_.clear_held_out();
    if (options_.sparsity_permille > 0) {
      // Zeros were asked for, so the budget is what they and the comparison take.
      plan_.mutable_budget()->set_bytes(std::max<int64_t>(problem_.TotalBytes(assignment),
                                                          plan_.held_out().uniform_size_bytes()));
    }
    plan_.set_complete(complete);
    DescribeComponents(*workspace_->bank(), problem_, assignment, summary, errors_, &plan_);
    if (workspace_->encoder()->encoder().needs() == StatsNeed::kGram) {
      BB_RETURN_IF_ERROR(RecordEncodings(assignment, workspace_->bank(), &plan_));
    }
    return plan_;
  }

  // The user's, with what the paper pins where sparsity is searched for.
  absl::StatusOr<Constraints> ConstraintsOf() const {
    Constraints constraints = options_.constraints;
    const bool sparsifies = options_.search == "sparsify" || options_.sparsity_permille > 0;
    if (!sparsifies || options_.prunes_embeddings) return constraints;
    std::vector<Constraints::Pin> pins;
    for (size_t c = 0; c < model_.components().size(); ++c) {
      const Component& component = model_.components()[c];
      if (component.layer >= 0) continue;
      BB_ASSIGN_OR_RETURN(
          Regex regex,
          Regex::Compile(
              absl::StrCat("^", absl::StrReplaceAll(component.name, {{".", "\\."}}), "$"),
              RegexDialect::kEcmaScript));
      pins.push_back({std::move(regex), model_.Weight(static_cast<ComponentId>(c)).format});
    }
    // The last pin that matches holds, so the user's come after these.
    constraints.pins.insert(constraints.pins.begin(), pins.begin(), pins.end());
    return constraints;
  }

  absl::StatusOr<MemoryPlan> MakeWorkspace() {
    MemoryRequest request;
    // Every rank has its share of the probes.
    const int64_t ranks = run_.ranks().size();
    request.search_probes = (options_.search_probes + ranks - 1) / ranks;
    request.held_out_probes = (options_.held_out_probes + ranks - 1) / ranks;
    if (NeedsCalibrationPrompts(options_)) request.calibration_probes = options_.search_probes;
    // Two evaluators keep streams then; each gets half of the room.
    const int evaluators = NeedsOf(options_).text ? 2 : 1;
    request.search_probes *= evaluators;
    request.context = maker_->context();
    request.completion = maker_->completion_tokens();
    request.text = options_.probes.source == ProbeSource::kText;
    request.threads = options_.threads;
    BB_ASSIGN_OR_RETURN(const MemoryPlan memory,
                        PlanMemory(model_, request, options_.memory_bytes));
    if (memory_ != nullptr) *memory_ = memory;
    WorkspaceOptions workspace;
    workspace.encoder = options_.encoder;
    workspace.pruning = options_.pruning;
    workspace.activations = options_.activations;
    workspace.threads = options_.threads;
    workspace.spill_directory = options_.spill_directory;
    workspace.SetMemory(memory);
    workspace.states_bytes /= evaluators;
    BB_ASSIGN_OR_RETURN(workspace_, Workspace::Create(model_, workspace, maker_->context()));
    return memory;
  }

  absl::Status BeginRun() {
    BB_RETURN_IF_ERROR(run_.Begin(options_.run_dir, RunIdentity(plan_), progress_));
    if (run_.store() == nullptr) return absl::OkStatus();
    BB_RETURN_IF_ERROR(run_.store()->DescribeModel(
        model_.components(), workspace_->bank()->StoredAssignment(), model_.fixed_bytes()));
    BB_ASSIGN_OR_RETURN(job_, run_.store()->BeginJob(JobText(plan_, options_)));
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<SharedProbes>> MakeProbes(ProbeRole role, int64_t count) {
    return SharedProbes::Create(*maker_, role, count, workspace_.get(), &run_, progress_);
  }

  // Some assignment fits, but none of the kind that the method makes.
  absl::Status MethodInfeasible() const {
    if (options_.sparsity_permille > 0) {
      return InfeasibleError(absl::StrCat("--search ",
                                          options_.search,
                                          " finds no assignment with ",
                                          options_.sparsity_permille / 10.0,
                                          " % zeros: the allowed formats leave out fewer; allow "
                                          "sparser ones with --formats, such as 'bf16+s*'"));
    }
    std::string smallest_uniform;
    if (const std::vector<Format> shared = problem_.SharedFormats(); !shared.empty()) {
      smallest_uniform = absl::StrCat("; with one format for all, ",
                                      shared[0].Name(),
                                      ", it is ",
                                      problem_.TotalBytes(problem_.Uniform(shared[0])),
                                      " bytes");
    }
    return InfeasibleError(absl::StrCat("--search ",
                                        options_.search,
                                        " has no assignment within the budget of ",
                                        problem_.MaxBytes(),
                                        " bytes: the smallest possible size is ",
                                        problem_.SmallestBytes(),
                                        " bytes",
                                        smallest_uniform,
                                        "; use --search greedy"));
  }

  // What to fall back on when the search was interrupted before it had run any candidate that fits:
  // the least error of weights that formats typically make. Of formats that make the same, finer
  // scales are the better ones by how much larger they are. Where zeros are asked for, every unit
  // has its share of them that can.
  Assignment UnmeasuredAssignment() const {
    CostTable cost;
    for (UnitId u = 0; u < problem_.size(); ++u) {
      const double weights = static_cast<double>(problem_.Weights(u));
      cost.emplace_back();
      int sparsest = 0;
      for (const Choice& choice : problem_.ladders[u]) {
        sparsest = std::max(sparsest, SparsityPermille(choice.format));
      }
      for (const Choice& choice : problem_.ladders[u]) {
        const double extra_bits =
            std::max(0.0, 8 * static_cast<double>(choice.bytes) / weights - choice.format.bits);
        const bool too_dense =
            SparsityPermille(choice.format) < std::min(problem_.MinSparsityPermille(), sparsest);
        cost.back().push_back(too_dense ? std::numeric_limits<double>::infinity()
                                        : weights * TypicalError(choice.format) *
                                              std::exp2(-2 * std::min(extra_bits, 1.0)));
      }
    }
    return problem_.ToAssignment(MinimizeSum(problem_, cost));
  }

  // Measures the search's result and the best uniform assignment on probes that neither was chosen
  // on; replaces *assignment by the uniform one when it does not win.
  absl::Status CompareHeldOut(Assignment* assignment) {
    BB_ASSIGN_OR_RETURN(const std::optional<Format> uniform_format, BestUniform());
    search_set_.reset();  // its streams make room for the keys and values of what follows
    BB_ASSIGN_OR_RETURN(const std::unique_ptr<SharedProbes> set,
                        MakeProbes(ProbeRole::kHeldOut, options_.held_out_probes));
    plan_.mutable_options()->set_held_out_probes(set->size());
    progress_->Begin("held-out comparison", 3);
    BB_ASSIGN_OR_RETURN(const Evaluation found, set->EvaluateFromScratch(*assignment));
    progress_->Update(1);
    BB_ASSIGN_OR_RETURN(const Evaluation noise_floor, set->NoiseFloor());
    progress_->Update(2);
    plans::HeldOut& held_out = *plan_.mutable_held_out();
    *held_out.mutable_plan() = MetricsOf(found);
    *held_out.mutable_noise_floor() = MetricsOf(noise_floor);
    if (uniform_format.has_value()) {
      const Assignment uniform = UniformOver(*uniform_format);
      BB_ASSIGN_OR_RETURN(const Evaluation evaluation, set->EvaluateFromScratch(uniform));
      held_out.set_uniform_format(uniform_format->Name());
      held_out.set_uniform_size_bytes(problem_.TotalBytes(uniform));
      *held_out.mutable_uniform() = MetricsOf(evaluation);
      *held_out.mutable_fdt_difference() =
          ToProto(PairedInterval(Statistic::kFdtMean, found, evaluation));
      *held_out.mutable_kl_difference() =
          ToProto(PairedInterval(Statistic::kKlMean, found, evaluation));
      if (uniform != *assignment && !Wins(found, evaluation)) {
        held_out.set_uniform_emitted(true);
        *assignment = uniform;
      }
      progress_->Update(3);
    }
    progress_->End();
    return MeasureHeldOutText(*assignment, uniform_format);
  }

  // Whether the search's result beats the uniform one on held-out probes: by the objective where
  // the 95 % interval of the paired difference excludes zero, else by KL likewise (FDT needs far
  // more probes to tell), else by the objective's own rule.
  bool Wins(const Evaluation& found, const Evaluation& uniform) const {
    for (const Statistic statistic : {options_.objective, Statistic::kKlMean}) {
      const Interval difference = PairedInterval(statistic, found, uniform);
      if (difference.low > 0) return LargerIsBetter(statistic);
      if (difference.high < 0) return !LargerIsBetter(statistic);
    }
    return objective_.Better(found, uniform);
  }

  // Perplexity of the emitted assignment and of uniform beside the reference's, where there is
  // text.
  absl::Status MeasureHeldOutText(const Assignment& assignment,
                                  const std::optional<Format>& uniform_format) {
    const auto windows = maker_->TextWindows(ProbeRole::kHeldOut, options_.held_out_probes);
    if (windows.empty()) return absl::OkStatus();
    plans::TextPerplexity& text = *plan_.mutable_held_out()->mutable_text();
    const int64_t count = static_cast<int64_t>(windows.size());
    const auto own = Dealt<std::vector<int32_t>>(run_.ranks(), windows);
    const auto run = [&](WeightSource* weights) -> absl::StatusOr<Evaluation> {
      if (own.empty()) return Evaluation();
      return MeasureText(workspace_->transformer(), weights, own, options_.threads, progress_);
    };
    // `planned` null: the reference.
    const auto measure = [&](const Assignment* planned,
                             plans::Interval* interval) -> absl::StatusOr<double> {
      const std::string name = planned != nullptr ? CandidateName(*planned) : "reference";
      BB_ASSIGN_OR_RETURN(
          const std::string packed,
          run_.Remember(
              absl::StrCat("text/", count, "/", name), [&]() -> absl::StatusOr<std::string> {
                AssignmentWeights weights = planned != nullptr
                                                ? workspace_->bank()->Weights(*planned)
                                                : workspace_->bank()->Reference();
                BB_ASSIGN_OR_RETURN(const Evaluation likelihood,
                                    GatherDealt(run_.ranks(), "text", {0, count}, run(&weights)));
                return SerializeResults(likelihood);
              }));
      BB_ASSIGN_OR_RETURN(const Evaluation likelihood, ParseResults(packed, "the run store"));
      *interval = ToProto(BootstrapInterval(Statistic::kDppl, likelihood));
      return Compute(Statistic::kDppl, likelihood);
    };
    BB_ASSIGN_OR_RETURN(const double reference,
                        measure(nullptr, text.mutable_reference_interval()));
    text.set_reference(reference);
    BB_ASSIGN_OR_RETURN(const double plan, measure(&assignment, text.mutable_plan_interval()));
    text.set_plan(plan);
    if (!uniform_format.has_value()) return absl::OkStatus();
    const Assignment uniform_assignment = UniformOver(*uniform_format);
    BB_ASSIGN_OR_RETURN(const double uniform,
                        measure(&uniform_assignment, text.mutable_uniform_interval()));
    text.set_uniform(uniform);
    return absl::OkStatus();
  }

  // The best uniform assignment that fits, chosen on the search probes; none when none fits.
  absl::StatusOr<std::optional<Format>> BestUniform() {
    const SearchContext context{
        &problem_, search_set_->evaluator(), progress_, workspace_->bank()->StoredAssignment()};
    BB_ASSIGN_OR_RETURN(const SearchSummary summary, MakeUniformSearch(objective_)->Run(context));
    if (summary.outcome == SearchOutcome::kInterrupted) return absl::CancelledError("interrupted");
    if (summary.outcome == SearchOutcome::kInfeasible) return std::optional<Format>();
    for (const Format& format : problem_.SharedFormats()) {
      if (UniformOver(format) == summary.assignment) return std::optional<Format>(format);
    }
    return std::optional<Format>();  // everything is pinned
  }

  // `format` (or what stands for it) where a unit is free, its pinned format elsewhere.
  Assignment UniformOver(const Format& format) const {
    return problem_.ToAssignment(problem_.Uniform(format));
  }

  const Model& model_;
  const PlanOptions& options_;
  Progress* progress_;
  MemoryPlan* memory_;
  Objective objective_;
  SearchProblem problem_;
  std::unique_ptr<ProbeMaker> maker_;
  std::unique_ptr<Workspace> workspace_;
  Run run_;
  std::optional<int64_t> job_;  // in the run's store
  std::unique_ptr<SharedProbes> search_set_;
  CostTable errors_;  // of stage 0, by component; empty when the search runs everything
  plans::Plan plan_;
};

}  // namespace

absl::Status PlanOptions::Validate() const {
  BB_RETURN_IF_ERROR(CheckMethod(*this));
  BB_RETURN_IF_ERROR(CheckEncoderName(encoder));
  if (search_probes < 2 || held_out_probes < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("at least 2 search and 2 held-out probes are "
                     "needed, not ",
                     search_probes,
                     " and ",
                     held_out_probes));
  }
  if (threads < 1) {
    return absl::InvalidArgumentError(absl::StrCat("--threads is ", threads, ", must be >= 1"));
  }
  BB_RETURN_IF_ERROR(BudgetCounts(budget, budget_scope, constraints.target).status());
  return probes.Validate();
}

absl::StatusOr<plans::Plan> RunPlanJob(const Model& model,
                                       const PlanOptions& options,
                                       Progress* progress,
                                       Communicator* ranks,
                                       MemoryPlan* memory) {
  return PlanJob(model, options, progress, ranks, memory).Execute();
}

}  // namespace bitbudget
