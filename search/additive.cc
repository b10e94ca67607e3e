#include "search/additive.h"

#include <glog/logging.h>

#include <cmath>
#include <utility>

#include "runtime/base/status_macros.h"
#include "search/search_run.h"

namespace bitbudget {
namespace {

constexpr double kNotFiniteNats = 1000;

class AdditiveSearch : public SearchMethod {
 public:
  absl::string_view name() const override { return "additive"; }

  absl::StatusOr<SearchSummary> Run(const SearchContext& context) override {
    SearchRun run(context);
    return run.Finish(Search(context, run));
  }

 private:
  static absl::Status Search(const SearchContext& context, SearchRun& run) {
    if (!run.Feasible()) return absl::OkStatus();
    BB_ASSIGN_OR_RETURN(run.summary().alone, MeasureAlone(context.reference, run));
    const Selection selection =
        MinimizeSum(run.problem(), AloneCosts(run.problem(), run.summary().alone));
    BB_RETURN_IF_ERROR(run.SetIncumbent(run.problem().ToAssignment(selection)));
    run.AcceptStart(selection, run.evaluator().incumbent_evaluation());
    return absl::OkStatus();
  }
};

}  // namespace

absl::StatusOr<std::vector<AloneDivergence>> MeasureAlone(const SearchContext& context) {
  SearchRun run(context);
  return MeasureAlone(context.reference, run);
}

absl::StatusOr<std::vector<AloneDivergence>> MeasureAlone(const Assignment& reference,
                                                          SearchRun& run) {
  const SearchProblem& problem = run.problem();
  int64_t evaluations = 1;
  for (int c = 0; c < problem.size(); ++c) {
    if (problem.Pinned(c)) continue;
    for (const Choice& choice : problem.ladders[c]) evaluations += choice.format != reference[c];
  }
  run.BeginPhase("components alone", evaluations);
  BB_RETURN_IF_ERROR(run.SetIncumbent(reference));
  const double reference_kl = Compute(Statistic::kKlMean, run.evaluator().incumbent_evaluation());

  std::vector<AloneDivergence> alone;
  for (int c = 0; c < problem.size(); ++c) {
    if (problem.Pinned(c)) continue;
    for (const Choice& choice : problem.ladders[c]) {
      const ComponentFormat change = {c, choice.format};
      double kl = reference_kl;
      if (choice.format != reference[c]) {
        BB_ASSIGN_OR_RETURN(const Evaluation evaluation, run.Evaluate({&change, 1}));
        kl = Compute(Statistic::kKlMean, evaluation);
      }
      alone.push_back({change, kl});
    }
  }
  run.EndPhase();
  return alone;
}

CostTable AloneCosts(const SearchProblem& problem, const std::vector<AloneDivergence>& alone) {
  CostTable cost(problem.size());
  for (int c = 0; c < problem.size(); ++c) cost[c].resize(problem.ladders[c].size(), 0.0);
  for (const AloneDivergence& measured : alone) {
    const ComponentId c = measured.change.component;
    const int index = problem.IndexOf(c, measured.change.format);
    CHECK_GE(index, 0) << problem.components[c].name << " cannot take "
                       << measured.change.format.Name();
    cost[c][index] = std::isfinite(measured.kl_mean) ? measured.kl_mean : kNotFiniteNats;
  }
  return cost;
}

std::unique_ptr<SearchMethod> MakeAdditiveSearch() { return std::make_unique<AdditiveSearch>(); }

}  // namespace bitbudget
