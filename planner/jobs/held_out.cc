#include "planner/jobs/held_out.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "planner/runs/shared_probes.h"
#include "planner/runs/stored_evaluator.h"
#include "runtime/base/status_macros.h"
#include "search/uniform.h"

namespace bitbudget {
namespace {

// Of an assignment in these weights; null: the model's.
absl::StatusOr<Evaluation> EvaluateIn(const TrainedWeights* weights,
                                      const HeldOutContext& context,
                                      const Assignment& assignment,
                                      SharedProbes* set) {
  context.workspace->UseWeights(weights);
  return set->EvaluateFromScratch(assignment);
}

bool Wins(Objective objective, const Evaluation& found, const Evaluation& uniform) {
  for (const Statistic statistic : {objective.primary(), Statistic::kLoss}) {
    const Interval difference = PairedInterval(statistic, found, uniform);
    if (difference.low > 0) return LargerIsBetter(statistic);
    if (difference.high < 0) return !LargerIsBetter(statistic);
  }
  return objective.Better(found, uniform);
}

}  // namespace

absl::StatusOr<std::optional<Format>> BestUniform(const HeldOutContext& context,
                                                  CandidateEvaluator* evaluator) {
  const SearchProblem& problem = *context.problem;
  SearchContext search{
      &problem, evaluator, context.progress, context.workspace->bank()->StoredAssignment()};
  search.estimates = context.estimates;
  BB_ASSIGN_OR_RETURN(const SearchSummary summary,
                      MakeUniformSearch(context.objective)->Run(search));
  if (summary.outcome == SearchOutcome::kInterrupted) return absl::CancelledError("interrupted");
  if (summary.outcome == SearchOutcome::kInfeasible) return std::optional<Format>();
  for (const Format& format : problem.SharedFormats()) {
    if (problem.ToAssignment(problem.Uniform(format)) == summary.assignment) {
      return std::optional<Format>(format);
    }
  }
  return std::optional<Format>();  // everything is pinned
}

absl::StatusOr<HeldOutProbes> HeldOutProbes::Create(const HeldOutContext& context) {
  HeldOutProbes probes;
  context.workspace->UseWeights(nullptr);
  BB_ASSIGN_OR_RETURN(probes.set_,
                      SharedProbes::Create(*context.maker,
                                           ProbeRole::kHeldOut,
                                           context.probes,
                                           context.workspace,
                                           context.run,
                                           context.progress));
  context.progress->Begin("noise floor", 1);
  BB_ASSIGN_OR_RETURN(probes.noise_floor_, probes.set_->NoiseFloor());
  BB_ASSIGN_OR_RETURN(probes.reference_, probes.set_->Own());
  context.progress->Update(1);
  context.progress->End();
  return probes;
}

absl::StatusOr<HeldOutComparison> CompareHeldOut(const HeldOutContext& context,
                                                 const HeldOutProbes& probes,
                                                 const Assignment& found,
                                                 const std::optional<Format>& uniform) {
  const SearchProblem& problem = *context.problem;
  SharedProbes* const set = probes.set();
  HeldOutComparison result;
  result.probes = set->size();
  result.emitted = found;
  context.progress->Begin("held-out comparison", 2);
  BB_ASSIGN_OR_RETURN(const Evaluation evaluation,
                      EvaluateIn(context.trained, context, found, set));
  context.progress->Update(1);
  result.evaluation = evaluation;
  result.found = MetricsOf(evaluation);
  result.noise_floor = MetricsOf(probes.noise_floor());
  result.text_divergence = TextDivergenceOf(evaluation);
  result.text = TextPerplexityOf(probes.reference(), evaluation);
  if (context.trained != nullptr) {
    BB_ASSIGN_OR_RETURN(const Evaluation before, EvaluateIn(nullptr, context, found, set));
    result.training = RecoveryMeasurements{before, evaluation};
  }
  if (uniform.has_value()) {
    const Assignment assignment = problem.ToAssignment(problem.Uniform(*uniform));
    BB_ASSIGN_OR_RETURN(const Evaluation other, EvaluateIn(nullptr, context, assignment, set));
    result.uniform = {*uniform,
                      problem.TotalBytes(assignment),
                      MetricsOf(other),
                      PairedInterval(Statistic::kFdtMean, evaluation, other),
                      PairedInterval(Statistic::kKlMean, evaluation, other),
                      TextDivergenceOf(other),
                      PairedInterval(Statistic::kTextKl, evaluation, other),
                      other};
    if (result.text.has_value()) {
      result.text->uniform = MeasuredOf(Statistic::kTextPpl, other);
    }
    const bool acceptable = !context.acceptable || context.acceptable(other);
    if (acceptable && (context.trained != nullptr || assignment != found) &&
        !Wins(context.objective, evaluation, other)) {
      result.uniform_emitted = true;
      result.emitted = assignment;
      if (result.text.has_value()) result.text->candidate = *result.text->uniform;
    }
    context.progress->Update(2);
  }
  context.progress->End();
  return result;
}

}  // namespace bitbudget
