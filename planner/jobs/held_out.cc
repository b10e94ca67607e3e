#include "planner/jobs/held_out.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "planner/runs/distributed_evaluator.h"
#include "planner/runs/messages.h"
#include "planner/runs/shared_probes.h"
#include "planner/runs/stored_evaluator.h"
#include "runtime/base/status_macros.h"
#include "runtime/eval/perplexity.h"
#include "search/uniform.h"

namespace bitbudget {
namespace {

using Windows = std::vector<std::vector<int32_t>>;

// What a comparison evaluates.
struct Sides {
  const Assignment& found;  // in the trained weights, if there are any
  const std::optional<Assignment>& uniform;

  bool Differ(const HeldOutContext& context) const {
    return uniform.has_value() && (context.trained != nullptr || *uniform != found);
  }
};

// Of an assignment in these weights; null: the model's.
absl::StatusOr<Evaluation> EvaluateIn(const TrainedWeights* weights,
                                      const HeldOutContext& context,
                                      const Assignment& assignment,
                                      SharedProbes* set) {
  context.workspace->UseWeights(weights);
  return set->EvaluateFromScratch(assignment);
}

bool Wins(Objective objective, const Evaluation& found, const Evaluation& uniform) {
  for (const Statistic statistic : {objective.primary(), Statistic::kKlMean}) {
    const Interval difference = PairedInterval(statistic, found, uniform);
    if (difference.low > 0) return LargerIsBetter(statistic);
    if (difference.high < 0) return !LargerIsBetter(statistic);
  }
  return objective.Better(found, uniform);
}

// The perplexity of all ranks' windows; `name` is what the run's store calls the weights.
absl::StatusOr<Measured> SharedPerplexity(const HeldOutContext& context,
                                          const Windows& windows,
                                          const std::string& name,
                                          const Assignment& assignment) {
  Workspace& workspace = *context.workspace;
  Communicator& ranks = context.run->ranks();
  const int64_t count = static_cast<int64_t>(windows.size());
  const auto measure = [&]() -> absl::StatusOr<std::string> {
    const Windows own = Dealt<std::vector<int32_t>>(ranks, windows);
    absl::StatusOr<Evaluation> part = Evaluation();
    AssignmentWeights weights = workspace.bank()->Weights(assignment);
    if (!own.empty()) {
      part = MeasureText(
          workspace.transformer(), &weights, own, workspace.options().threads, context.progress);
    }
    BB_ASSIGN_OR_RETURN(const Evaluation likelihood, GatherDealt(ranks, "text", {0, count}, part));
    return SerializeResults(likelihood);
  };
  BB_ASSIGN_OR_RETURN(const std::string stored,
                      context.run->Remember(absl::StrCat("text/", count, "/", name), measure));
  BB_ASSIGN_OR_RETURN(const Evaluation likelihood, ParseResults(stored, "the run store"));
  return MeasuredOf(Statistic::kDppl, likelihood);
}

// The perplexities of the reference, of what is emitted (in these weights; null: the model's) and
// of uniform.
absl::StatusOr<TextPerplexity> MeasureHeldOutText(const HeldOutContext& context,
                                                  const Windows& windows,
                                                  const Assignment& emitted,
                                                  const TrainedWeights* weights,
                                                  const std::optional<Assignment>& uniform) {
  TextPerplexity text;
  BB_ASSIGN_OR_RETURN(
      text.reference,
      SharedPerplexity(
          context, windows, "reference", context.workspace->bank()->StoredAssignment()));
  context.workspace->UseWeights(weights);
  BB_ASSIGN_OR_RETURN(
      text.candidate,
      SharedPerplexity(
          context, windows, CandidateName(emitted, context.workspace->weights_name()), emitted));
  if (uniform.has_value()) {
    context.workspace->UseWeights(nullptr);
    BB_ASSIGN_OR_RETURN(text.uniform,
                        SharedPerplexity(context, windows, CandidateName(*uniform), *uniform));
  }
  return text;
}

// Adds what is measured along windows.
absl::Status CompareAlongWindows(const HeldOutContext& context,
                                 const Sides& sides,
                                 HeldOutComparison* result) {
  if (context.maker->window_tokens() <= kTextPromptTokens) return absl::OkStatus();
  BB_ASSIGN_OR_RETURN(const std::unique_ptr<SharedProbes> set,
                      SharedProbes::Create(*context.maker,
                                           ProbeRole::kHeldOut,
                                           result->probes,
                                           context.workspace,
                                           context.run,
                                           context.progress,
                                           SharedProbes::Completions::kWindow));
  context.progress->Begin("text divergence", 2);
  BB_ASSIGN_OR_RETURN(const Evaluation evaluation,
                      EvaluateIn(context.trained, context, sides.found, set.get()));
  context.progress->Update(1);
  result->text_divergence = TextDivergenceOf(evaluation);
  if (result->training.has_value()) {
    result->training->after.windows = evaluation;
    BB_ASSIGN_OR_RETURN(result->training->before.windows,
                        EvaluateIn(nullptr, context, sides.found, set.get()));
  }
  if (sides.uniform.has_value()) {
    Evaluation other = evaluation;
    if (sides.Differ(context)) {
      BB_ASSIGN_OR_RETURN(other, EvaluateIn(nullptr, context, *sides.uniform, set.get()));
    }
    context.progress->Update(2);
    result->uniform->text = TextDivergenceOf(other);
    result->uniform->text_kl_difference = PairedInterval(Statistic::kKlMean, evaluation, other);
  }
  context.progress->End();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::optional<Format>> BestUniform(const HeldOutContext& context,
                                                  CandidateEvaluator* evaluator) {
  const SearchProblem& problem = *context.problem;
  const SearchContext search{
      &problem, evaluator, context.progress, context.workspace->bank()->StoredAssignment()};
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

absl::StatusOr<HeldOutComparison> CompareHeldOut(const HeldOutContext& context,
                                                 const Assignment& found,
                                                 const std::optional<Format>& uniform) {
  const SearchProblem& problem = *context.problem;
  BB_ASSIGN_OR_RETURN(std::unique_ptr<SharedProbes> set,
                      SharedProbes::Create(*context.maker,
                                           ProbeRole::kHeldOut,
                                           context.probes,
                                           context.workspace,
                                           context.run,
                                           context.progress));
  HeldOutComparison result;
  result.probes = set->size();
  result.emitted = found;
  context.progress->Begin("held-out comparison", 3);
  BB_ASSIGN_OR_RETURN(const Evaluation evaluation,
                      EvaluateIn(context.trained, context, found, set.get()));
  context.progress->Update(1);
  BB_ASSIGN_OR_RETURN(const Evaluation noise_floor, set->NoiseFloor());
  context.progress->Update(2);
  result.found = MetricsOf(evaluation);
  result.noise_floor = MetricsOf(noise_floor);
  if (context.trained != nullptr) {
    result.training.emplace().after.probes = evaluation;
    BB_ASSIGN_OR_RETURN(result.training->before.probes,
                        EvaluateIn(nullptr, context, found, set.get()));
  }
  std::optional<Assignment> uniform_assignment;
  const Sides sides{found, uniform_assignment};
  if (uniform.has_value()) {
    uniform_assignment = problem.ToAssignment(problem.Uniform(*uniform));
    BB_ASSIGN_OR_RETURN(const Evaluation other,
                        EvaluateIn(nullptr, context, *uniform_assignment, set.get()));
    result.uniform = {*uniform,
                      problem.TotalBytes(*uniform_assignment),
                      MetricsOf(other),
                      PairedInterval(Statistic::kFdtMean, evaluation, other),
                      PairedInterval(Statistic::kKlMean, evaluation, other),
                      std::nullopt,
                      Interval()};
    if (sides.Differ(context) && !Wins(context.objective, evaluation, other)) {
      result.uniform_emitted = true;
      result.emitted = *uniform_assignment;
    }
    context.progress->Update(3);
  }
  context.progress->End();
  set.reset();  // its streams make room for the windows'
  BB_RETURN_IF_ERROR(CompareAlongWindows(context, sides, &result));
  const Windows windows = context.maker->TextWindows(ProbeRole::kHeldOut, context.probes);
  if (!windows.empty()) {
    const TrainedWeights* const weights = result.uniform_emitted ? nullptr : context.trained;
    BB_ASSIGN_OR_RETURN(
        result.text,
        MeasureHeldOutText(context, windows, result.emitted, weights, uniform_assignment));
  }
  return result;
}

}  // namespace bitbudget
