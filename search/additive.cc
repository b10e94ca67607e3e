#include "search/additive.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "runtime/base/status_macros.h"
#include "search/search_session.h"
#include "search/surrogate.h"

namespace bitbudget {
namespace {

// What a divergence that is not finite counts as: more than finite logits give.
constexpr double kNotFiniteNats = 1000;
// What additive measures for the surrogate.
constexpr double kEvaluationsPerUnit = 1.3;

struct UnitChoice {
  UnitId unit;
  int choice;
};

class AloneMeasurement {
 public:
  AloneMeasurement(const SearchContext& context,
                   double evaluations_per_unit,
                   SearchSession& session)
      : context_(context),
        evaluations_per_unit_(evaluations_per_unit),
        session_(session),
        problem_(session.problem()) {
    for (int c = 0; c < problem_.size(); ++c) {
      const std::vector<Choice>& ladder = problem_.ladders[c];
      result_.cost.emplace_back(ladder.size(), 0.0);
      measured_.emplace_back(ladder.size(), false);
      if (problem_.Pinned(c)) continue;
      ++free_units_;
      for (int i = 0; i < static_cast<int>(ladder.size()); ++i) runs_ += !IsReference({c, i});
    }
  }

  absl::StatusOr<AloneCosts> Measure() {
    session_.BeginPhase("components alone", context_.errors == nullptr ? 1 + runs_ : 0);
    BB_RETURN_IF_ERROR(session_.SetIncumbent(context_.reference));
    reference_ = session_.evaluator().incumbent_evaluation();
    BB_RETURN_IF_ERROR(context_.errors == nullptr ? Everything() : Contenders(*context_.errors));
    session_.EndPhase();
    for (UnitId u = 0; u < problem_.size(); ++u) {
      for (size_t i = 0; i < measured_[u].size(); ++i) {
        if (!measured_[u][i]) continue;
        for (const ComponentFormat& change : problem_.Changes(u, static_cast<int>(i))) {
          result_.measured.push_back({change, result_.cost[u][i]});
        }
      }
    }
    return std::move(result_);
  }

 private:
  bool IsReference(UnitChoice at) const {
    const std::vector<ComponentFormat> changes = problem_.Changes(at.unit, at.choice);
    return std::all_of(changes.begin(), changes.end(), [&](const ComponentFormat& change) {
      return context_.reference[change.component] == change.format;
    });
  }

  void Record(UnitChoice at, const Evaluation& evaluation) {
    const double kl = Compute(Statistic::kLoss, evaluation);
    result_.cost[at.unit][at.choice] = std::isfinite(kl) ? kl : kNotFiniteNats;
    measured_[at.unit][at.choice] = true;
  }

  absl::Status Everything() {
    for (int c = 0; c < problem_.size(); ++c) {
      if (problem_.Pinned(c)) continue;
      for (int i = 0; i < static_cast<int>(problem_.ladders[c].size()); ++i) {
        Evaluation evaluation = reference_;
        if (!IsReference({c, i})) {
          BB_ASSIGN_OR_RETURN(evaluation, session_.Evaluate(problem_.Changes(c, i)));
        }
        Record({c, i}, evaluation);
      }
    }
    return absl::OkStatus();
  }

  absl::Status Contenders(const CostTable& errors) {
    Surrogate surrogate(problem_, errors, SurrogateOptions());
    const Evaluation reference = session_.ScreenPart(reference_);
    const double share =
        static_cast<double>(reference.size()) / static_cast<double>(reference_.size());
    int64_t runs_left = static_cast<int64_t>(evaluations_per_unit_ * free_units_ / share);
    session_.Considered(runs_);
    std::vector<UnitChoice> wanted = FirstChoices(errors);
    while (!wanted.empty()) {
      for (const UnitChoice at : wanted) {
        BB_ASSIGN_OR_RETURN(const Evaluation evaluation,
                            session_.Screen(problem_.Changes(at.unit, at.choice)));
        session_.Considered(-1);  // it is one of runs_
        Record(at, evaluation);
        surrogate.Observe(at.unit,
                          at.choice,
                          result_.cost[at.unit][at.choice],
                          Difference(Statistic::kLoss, evaluation, reference).standard_error);
      }
      runs_left -= static_cast<int64_t>(wanted.size());
      surrogate.Fit();
      Predict(surrogate);
      wanted = Contending(0);
      if (wanted.empty()) wanted = Contending(surrogate.spread());
      KeepCostliest(runs_left, &wanted);
    }
    return absl::OkStatus();
  }

  // One choice of every unit: what the least sum of errors would take, before anything is
  // known of how much a unit's error matters.
  std::vector<UnitChoice> FirstChoices(const CostTable& errors) const {
    const Selection selection = MinimizeSum(problem_, errors);
    std::vector<UnitChoice> first;
    for (int c = 0; c < problem_.size(); ++c) {
      if (problem_.Pinned(c)) continue;
      UnitChoice at = {c, selection.empty() ? 0 : selection[c]};
      while (at.choice > 0 && IsReference(at)) --at.choice;
      if (!IsReference(at)) first.push_back(at);
    }
    return first;
  }

  // Fills in what was not measured.
  void Predict(const Surrogate& surrogate) {
    for (int c = 0; c < problem_.size(); ++c) {
      if (problem_.Pinned(c)) continue;
      for (int i = 0; i < static_cast<int>(problem_.ladders[c].size()); ++i) {
        if (!measured_[c][i]) result_.cost[c][i] = surrogate.Predict(c, i);
      }
    }
  }

  // What the least sum under the budget takes and nobody measured, when predictions are taken as
  // lower by `optimism` standard deviations of their logarithm.
  std::vector<UnitChoice> Contending(double optimism) const {
    CostTable cost = result_.cost;
    for (int c = 0; c < problem_.size(); ++c) {
      for (size_t i = 0; i < cost[c].size(); ++i) {
        if (!measured_[c][i]) cost[c][i] *= std::exp(-optimism);
      }
    }
    const Selection selection = MinimizeSum(problem_, cost);
    std::vector<UnitChoice> contending;
    for (int c = 0; c < static_cast<int>(selection.size()); ++c) {
      const UnitChoice at = {c, selection[c]};
      if (!problem_.Pinned(c) && !measured_[c][at.choice] && !IsReference(at)) {
        contending.push_back(at);
      }
    }
    return contending;
  }

  // The `count` choices whose predicted cost, and with it what a prediction may be wrong by, is
  // largest; in unit order.
  void KeepCostliest(int64_t count, std::vector<UnitChoice>* choices) const {
    if (static_cast<int64_t>(choices->size()) <= count) return;
    std::stable_sort(
        choices->begin(), choices->end(), [&](const UnitChoice& a, const UnitChoice& b) {
          return result_.cost[a.unit][a.choice] > result_.cost[b.unit][b.choice];
        });
    choices->resize(static_cast<size_t>(std::max<int64_t>(count, 0)));
    std::sort(choices->begin(), choices->end(), [](const UnitChoice& a, const UnitChoice& b) {
      return a.unit < b.unit;
    });
  }

  const SearchContext& context_;
  const double evaluations_per_unit_;
  SearchSession& session_;
  const SearchProblem& problem_;
  Evaluation reference_;
  AloneCosts result_;
  std::vector<std::vector<bool>> measured_;
  int free_units_ = 0;
  int64_t runs_ = 0;  // that measuring everything takes, but for the reference
};

class AdditiveSearch : public SearchMethod {
 public:
  absl::string_view name() const override { return "additive"; }

  absl::StatusOr<SearchSummary> Run(const SearchContext& context) override {
    SearchSession session(context);
    return session.Finish(Search(context, session));
  }

 private:
  static absl::StatusOr<Selection> Select(const SearchContext& context, SearchSession& session) {
    if (context.estimates != nullptr) {
      for (const std::vector<double>& costs : *context.estimates) {
        session.Considered(static_cast<int64_t>(costs.size()));
      }
      return MinimizeSum(session.problem(), *context.estimates);
    }
    BB_ASSIGN_OR_RETURN(AloneCosts alone, MeasureAlone(context, kEvaluationsPerUnit, session));
    session.summary().alone = std::move(alone.measured);
    return MinimizeSum(session.problem(), alone.cost);
  }

  static absl::Status Search(const SearchContext& context, SearchSession& session) {
    if (!session.Feasible()) return absl::OkStatus();
    BB_ASSIGN_OR_RETURN(const Selection selection, Select(context, session));
    BB_RETURN_IF_ERROR(session.SetIncumbent(session.problem().ToAssignment(selection)));
    session.AcceptStart(selection, session.evaluator().incumbent_evaluation());
    return absl::OkStatus();
  }
};

}  // namespace

absl::StatusOr<AloneCosts> MeasureAlone(const SearchContext& context,
                                        double evaluations_per_unit,
                                        SearchSession& session) {
  return AloneMeasurement(context, evaluations_per_unit, session).Measure();
}

std::unique_ptr<SearchMethod> MakeAdditiveSearch() { return std::make_unique<AdditiveSearch>(); }

}  // namespace bitbudget
