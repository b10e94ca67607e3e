#include "planner/jobs/goal_job.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "planner/jobs/feasibility.h"
#include "planner/jobs/goal_sizes.h"
#include "planner/jobs/plan_jobs.h"
#include "planner/jobs/plan_problem.h"
#include "planner/jobs/plan_record.h"
#include "planner/jobs/plan_work.h"
#include "planner/runs/run.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// Bits per weight whose default formats are tried: those of 2 bits and more.
constexpr double kLadderBits = 3;
// Candidates that the curve is measured with around a size, at most.
constexpr int kCurvePoints = 8;
// The first size is one whose held-out interval should end at this share of the goal's distance,
// the following ones are this much further from the original.
constexpr double kFirstLevel = 0.86;
constexpr double kStep = 1.075;
// How far below the bound a plan is aimed that follows one that missed it, with none that met it.
constexpr double kRetryLevel = 0.95;
constexpr int kTrials = 12;
// What the search gains over the curve, until the first search tells.
constexpr double kExpectedGain = 0.95;

PlanOptions AtSize(const GoalOptions& options, int64_t bytes) {
  PlanOptions plan = options.plan;
  plan.limit = Budget{Budget::Unit::kBytes, static_cast<double>(bytes), options.goal.text};
  plan.budget_scope = {};
  plan.budget_scope.counts = BudgetFor::kWeights;
  plan.constraints.default_bits = kLadderBits;
  return plan;
}

// The plan of the curve at a size.
PlanOptions OnCurve(const GoalOptions& options, int64_t bytes) {
  PlanOptions plan = AtSize(options, bytes);
  plan.search = "additive";
  plan.costs = "kfac";
  plan.exhaustive = false;
  return plan;
}

// The stages of a goal, from those of two jobs: a plan of the curve, and one that is searched for.
// Sizes that turn out to be needed beyond the expected ones are not in it.
PlanWork WorkOfGoal(PlanWork two) {
  constexpr double kCurve = 6;
  constexpr int kSizes = 3;
  PlanWork work{two.pass, {}};
  std::vector<WorkStage> search;
  std::vector<WorkStage> end;
  for (WorkStage& stage : two.stages) {
    if (stage.job == 0) {
      const bool runs = stage.name.starts_with("additive");
      if (runs) stage.name = "sizes";
      for (PhaseWork& part : stage.parts) {
        if (!runs) continue;
        part.times = kCurve;
        part.limit = true;
      }
      work.stages.push_back(std::move(stage));
    } else if (stage.job == 1) {
      search.push_back(std::move(stage));
    } else if (stage.name == "uniform rivals" || stage.name == "held-out comparison") {
      end.push_back(std::move(stage));
    } else {
      work.stages.push_back(std::move(stage));  // ahead of the searches, or the held-out probes
    }
  }
  const double rows = end.back().parts.back().passes;
  for (int size = 1; size <= kSizes; ++size) {
    for (WorkStage stage : search) {
      if (stage.name == "costs" && size > 1) continue;
      stage.job = size;
      stage.name = absl::StrCat(stage.name == "costs" ? "costs of size " : "size ", size);
      work.stages.push_back(std::move(stage));
    }
    PhaseWork run{.phases = {"held-out comparison"}, .passes = rows};
    run.limit = true;
    work.stages.push_back({absl::StrCat("size ", size, ", held out"), {run}, size});
  }
  std::move(end.begin(), end.end(), std::back_inserter(work.stages));
  return work;
}

class GoalJobs {
 public:
  GoalJobs(const Model& model, const GoalOptions& options, Run* run, PlanJobs* jobs)
      : model_(model), options_(options), goal_(options.goal), run_(*run), jobs_(*jobs) {}

  absl::StatusOr<plans::Plan> Make(MemoryPlan* memory) {
    BB_RETURN_IF_ERROR(SetUp(memory));
    BB_RETURN_IF_ERROR(MeasureOnCurve(problem_.MaxBytes()).status());
    BB_RETURN_IF_ERROR(jobs_.MakeHeldOutProbes());
    BB_RETURN_IF_ERROR(FindSmallest());
    return Finish();
  }

 private:
  absl::Status SetUp(MemoryPlan* memory) {
    BB_RETURN_IF_ERROR(options_.Validate());
    // Every component in its widest format.
    PlanOptions widest = OnCurve(options_, 1);
    widest.limit = Budget{Budget::Unit::kBytes, 9e15, goal_.text};
    BB_ASSIGN_OR_RETURN(PlanProblem made, MakePlanProblem(model_, widest));
    problem_ = std::move(made.problem);
    WorkspaceNeeds needs;
    const int64_t ranks = run_.ranks().size();
    AddWorkspaceNeeds(widest, problem_, ranks, &needs);
    AddWorkspaceNeeds(AtSize(options_, problem_.MaxBytes()), problem_, ranks, &needs);
    ++needs.evaluators;  // held-out probes beside the search's
    BB_RETURN_IF_ERROR(jobs_.SetUp(options_.plan, needs, memory));
    const auto tokens = static_cast<double>(jobs_.ready().maker->completion_tokens());
    if (goal_.measure == QualityGoal::Measure::kFdt && goal_.bound >= tokens) {
      return absl::InvalidArgumentError(absl::StrCat(
          "goal '", goal_.text, "' is not below the ", tokens, " tokens of a completion"));
    }
    jobs_.progress()->Message(jobs_.ready().memory.Describe());
    const PlanOptions some = AtSize(options_, problem_.MaxBytes());
    const std::vector<JobToDo> two = {{&widest, &problem_}, {&some, &problem_}};
    jobs_.Stage(WorkOfGoal(WorkOf(model_, two, {}, *jobs_.ready().maker, ranks)));
    jobs_.StageJob(0);
    BB_RETURN_IF_ERROR(jobs_.Prepare());
    BB_ASSIGN_OR_RETURN(search_reference_, jobs_.search_probes()->Own());
    const bool along_text = goal_.measure != QualityGoal::Measure::kFdt &&
                            goal_.measure != QualityGoal::Measure::kCompletionKl;
    if (along_text && !HasText(search_reference_)) {
      return absl::InvalidArgumentError(
          absl::StrCat("goal '",
                       goal_.text,
                       "' is measured along prompts behind their first ",
                       kTextPromptTokens,
                       " tokens, and none is that long; set kl or fdt as the goal, or take longer "
                       "prompts"));
    }
    return absl::OkStatus();
  }

  // Where the interval over the held-out probes should end, from one over the search probes.
  double PredictedDistance(const Evaluation& evaluation) const {
    const GoalReading reading = ReadGoal(goal_, search_reference_, evaluation);
    const double probes = std::sqrt(static_cast<double>(options_.plan.search_probes) /
                                    static_cast<double>(options_.plan.held_out_probes));
    return reading.distance + probes * (reading.safe_distance - reading.distance);
  }

  // The size that the curve's plan takes when so much is allowed.
  absl::StatusOr<int64_t> MeasureOnCurve(int64_t bytes) {
    SearchProblem problem = problem_;
    problem.limit = ByteBudget{bytes};
    BB_ASSIGN_OR_RETURN(const SearchResult found, jobs_.Try(OnCurve(options_, bytes), problem));
    if (found.summary.outcome != SearchOutcome::kBudgetMet) {
      return absl::CancelledError("interrupted");
    }
    const int64_t size = found.summary.size_bytes;
    if (!sizes_.has_value()) sizes_.emplace(problem.SmallestBytes(), size);
    sizes_->Add(size, PredictedDistance(found.summary.evaluation));
    return size;
  }

  // Measures the curve around a distance.
  absl::Status RefineCurve(double distance) {
    for (int i = 0; i < kCurvePoints; ++i) {
      const std::optional<int64_t> next = sizes_->NextToMeasure(distance);
      if (!next.has_value()) break;
      const int64_t before = sizes_->SizeFor(distance);
      BB_ASSIGN_OR_RETURN(const int64_t size, MeasureOnCurve(*next));
      // No other assignment lies between.
      if (size < *next && sizes_->SizeFor(distance) == before) break;
    }
    return absl::OkStatus();
  }

  // Searches for the plan of a size and measures it on the held-out probes.
  absl::StatusOr<PlanJobs::Job*> Try(int64_t bytes) {
    const PlanOptions options = AtSize(options_, bytes);
    BB_ASSIGN_OR_RETURN(PlanProblem made, MakePlanProblem(model_, options));
    BB_ASSIGN_OR_RETURN(PlanJobs::Job * job, jobs_.Add(options, std::move(made)));
    jobs_.StageJob(record_.trials_size() + 1);
    BB_RETURN_IF_ERROR(jobs_.Search(job));
    if (!job->met()) return absl::CancelledError("interrupted");
    const SearchSummary& found = job->findings.search;
    gain_ = PredictedDistance(found.evaluation) / sizes_->DistanceAt(found.size_bytes);
    jobs_.progress()->Begin("held-out comparison", 1);
    const HeldOutProbes& held_out = jobs_.held_out_probes();
    BB_ASSIGN_OR_RETURN(const Evaluation evaluation,
                        held_out.set()->EvaluateFromScratch(found.assignment));
    jobs_.progress()->End();
    job->complete = true;
    reading_ = ReadGoal(goal_, held_out.reference(), evaluation);
    plans::GoalTrial& trial = *record_.add_trials();
    trial.set_size_bytes(found.size_bytes);
    trial.set_value(reading_.value);
    *trial.mutable_interval() = ToProto(reading_.interval);
    trial.set_met(reading_.met);
    return job;
  }

  absl::Status FindSmallest() {
    const double bound = goal_.Distance(goal_.bound);
    double level = kFirstLevel;
    int64_t smallest = sizes_->smallest();
    int64_t largest = sizes_->largest();
    for (int i = 0; i < kTrials && smallest <= largest; ++i) {
      BB_RETURN_IF_ERROR(RefineCurve(level * bound / gain_));
      const int64_t bytes = std::clamp(sizes_->SizeFor(level * bound / gain_), smallest, largest);
      BB_ASSIGN_OR_RETURN(PlanJobs::Job * job, Try(bytes));
      if (reading_.met) {
        best_ = job;
        largest = job->findings.search.size_bytes - 1;
        level *= kStep;
      } else if (best_ != nullptr) {
        break;
      } else {
        smallest = bytes + 1;
        level *= kRetryLevel * bound / reading_.safe_distance;
      }
    }
    return best_ != nullptr ? absl::OkStatus() : Infeasible();
  }

  absl::Status Infeasible() const {
    const auto distance = [&](const plans::GoalTrial& trial) {
      return goal_.Distance(trial.value());
    };
    const plans::GoalTrial& best = *std::min_element(
        record_.trials().begin(), record_.trials().end(), [&](const auto& a, const auto& b) {
          return distance(a) < distance(b);
        });
    return InfeasibleError(
        absl::StrCat("goal '",
                     goal_.text,
                     "' is not met: the best that was reached on held-out probes is ",
                     GoalValueText(goal_, best.value()),
                     " [",
                     GoalValueText(goal_, best.interval().low()),
                     ", ",
                     GoalValueText(goal_, best.interval().high()),
                     "] with ",
                     best.size_bytes(),
                     " bytes; set a goal that leaves more room, allow wider formats, or take more "
                     "held-out probes"));
  }

  absl::StatusOr<plans::Plan> Finish() {
    const Evaluation& reference = jobs_.held_out_probes().reference();
    BB_RETURN_IF_ERROR(jobs_.FindUniform(best_));
    BB_RETURN_IF_ERROR(jobs_.CompareHeldOut(
        best_, [&](const Evaluation& uniform) { return ReadGoal(goal_, reference, uniform).met; }));
    BB_ASSIGN_OR_RETURN(PlanOutcome outcome, jobs_.Finish(best_));
    const GoalReading reading = ReadGoal(goal_, reference, outcome.evaluation);
    record_.set_requested(goal_.text);
    record_.set_bound(goal_.bound);
    record_.set_value(reading.value);
    *record_.mutable_interval() = ToProto(reading.interval);
    record_.set_margin(1 - reading.safe_distance / goal_.Distance(goal_.bound));
    *outcome.plan.mutable_goal() = record_;
    jobs_.FinishProgress();
    return std::move(outcome.plan);
  }

  const Model& model_;
  const GoalOptions& options_;
  const QualityGoal& goal_;
  Run& run_;
  PlanJobs& jobs_;
  SearchProblem problem_;  // without a limit
  Evaluation search_reference_;
  std::optional<GoalSizes> sizes_;
  double gain_ = kExpectedGain;  // the search's distance over the curve's
  GoalReading reading_;          // of the last trial
  PlanJobs::Job* best_ = nullptr;
  plans::Goal record_;
};

}  // namespace

absl::Status GoalOptions::Validate() const {
  if (plan.retraining.has_value()) {
    return absl::InvalidArgumentError("a goal of quality does not go with retraining");
  }
  if (plan.budget_scope.counts.has_value() || plan.budget_scope.context.has_value()) {
    return absl::InvalidArgumentError(
        "a goal of quality has no budget that could pay for a file or for memory");
  }
  BB_RETURN_IF_ERROR(OnCurve(*this, 1).Validate());
  return AtSize(*this, 1).Validate();
}

absl::StatusOr<plans::Plan> RunGoalJob(const Model& model,
                                       const GoalOptions& options,
                                       Progress* progress,
                                       Communicator* ranks,
                                       MemoryPlan* memory) {
  Run run = ranks != nullptr ? Run(ranks) : Run();
  PlanJobs jobs(model, &run, progress);
  absl::StatusOr<plans::Plan> plan = GoalJobs(model, options, &run, &jobs).Make(memory);
  BB_RETURN_IF_ERROR(jobs.End(plan.status()));
  return plan;
}

}  // namespace bitbudget
