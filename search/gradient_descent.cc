#include "search/gradient_descent.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"
#include "search/exact_fill.h"
#include "search/move_model.h"

namespace bitbudget {
namespace {

constexpr uint64_t kOtherStartsStream = 0x73746172;  // of the seed

// How much stiffer moves are taken to be, at least, after a joint move that did not lower the loss.
constexpr double kStiffer = 1.25;
// How far the start's loss may be above its estimate before other starts are drawn. Nearer to it,
// sums of estimates are right and other starts gain nothing (docs/search.md).
constexpr double kAddsUp = 1.1;
// How far estimates may be off: standard deviation of the logarithm, half of the variance common to
// all choices of a unit.
constexpr double kSpread = 0.2;

CostTable Perturbed(CostTable costs, Random random) {
  const double spread = kSpread / std::numbers::sqrt2;
  for (std::vector<double>& unit : costs) {
    const double common = random.Normal();
    for (double& cost : unit) cost *= std::exp(spread * (common + random.Normal()));
  }
  return costs;
}

class Descent {
 public:
  Descent(const GradientDescentOptions& options,
          const Objective& objective,
          const SearchContext& context,
          SearchSession* session)
      : options_(options),
        objective_(objective),
        context_(context),
        session_(*session),
        problem_(session->problem()) {}

  absl::Status Search() {
    for (const std::vector<double>& costs : *context_.estimates) {
      session_.Considered(static_cast<int64_t>(costs.size()));
    }
    current_ = MinimizeSum(problem_, *context_.estimates);
    session_.BeginPhase("start", 1);
    BB_RETURN_IF_ERROR(session_.SetIncumbent(problem_.ToAssignment(current_)));
    session_.AcceptStart(current_, incumbent());
    run_.push_back({current_, incumbent()});
    known_.insert(current_);
    if (!(LossOverEstimate() <= kAddsUp)) BB_RETURN_IF_ERROR(TryOtherStarts());
    start_loss_ = objective_.Loss(incumbent());
    if (std::isfinite(LossOverEstimate())) stiffness_ = std::max(1.0, LossOverEstimate());
    bool moved = true;
    while (moved && session_.summary().rounds < options_.max_rounds) {
      BB_ASSIGN_OR_RETURN(moved, Round());
    }
    KeepBestByObjective();
    return absl::OkStatus();
  }

 private:
  struct Run {
    Selection selection;
    Evaluation evaluation;
  };

  const Evaluation& incumbent() const { return session_.evaluator().incumbent_evaluation(); }

  double LossOverEstimate() const {
    return objective_.Loss(incumbent()) / Sum(*context_.estimates, current_);
  }

  absl::Status TryOtherStarts() {
    session_.BeginPhase("other starts", options_.other_starts + 1);
    Selection best;
    double least = objective_.Loss(session_.ScreenPart(incumbent()));
    std::set<Selection> drawn = {current_};
    for (int k = 0; k < options_.other_starts && WorkLeft(); ++k) {
      const Selection next = MinimizeSum(
          problem_,
          Perturbed(*context_.estimates, Random(options_.seed, {kOtherStartsStream, uint64_t(k)})));
      if (!drawn.insert(next).second) continue;
      BB_ASSIGN_OR_RETURN(const Evaluation screened, session_.Screen(ChangesTo(next)));
      const double loss = objective_.Loss(screened);
      if (!(loss < least)) continue;
      least = loss;
      best = next;
    }
    if (best.empty() || !WorkLeft()) return absl::OkStatus();
    const std::vector<ComponentFormat> delta = ChangesTo(best);
    auto not_lower = [this](const Evaluation& candidate, const Evaluation& incumbent) {
      return !(objective_.Loss(candidate) < objective_.Loss(incumbent));
    };
    BB_ASSIGN_OR_RETURN(std::optional<Evaluation> evaluation, session_.Race(delta, not_lower));
    if (!evaluation.has_value()) return absl::OkStatus();
    run_.push_back({best, *evaluation});
    known_.insert(best);
    if (not_lower(*evaluation, incumbent())) return absl::OkStatus();
    BB_RETURN_IF_ERROR(session_.Commit(delta));
    current_ = best;
    session_.Accept("other start", delta, current_, *std::move(evaluation));
    return absl::OkStatus();
  }

  bool WorkLeft() const {
    const CandidateEvaluator& evaluator = session_.evaluator();
    const double whole = evaluator.CostOf(std::nullopt, {0, evaluator.probe_count()});
    return session_.summary().computed + whole <= options_.max_evaluations * whole;
  }

  // The selection of least predicted loss under the budget.
  Selection Best(const MovePrediction& predicted) const {
    CostTable cost = predicted.slope;
    for (UnitId u = 0; u < problem_.size(); ++u) {
      for (size_t i = 0; i < cost[u].size(); ++i) {
        cost[u][i] += stiffness_ * predicted.curvature[u][i];
      }
    }
    return MinimizeSum(problem_, cost);
  }

  static double Sum(const CostTable& table, const Selection& selection) {
    double sum = 0;
    for (size_t u = 0; u < selection.size(); ++u) sum += table[u][selection[u]];
    return sum;
  }

  std::vector<ComponentFormat> ChangesTo(const Selection& selection) const {
    std::vector<ComponentFormat> all;
    for (UnitId u = 0; u < problem_.size(); ++u) {
      if (selection[u] == current_[u]) continue;
      const std::vector<ComponentFormat> changes = problem_.Changes(u, selection[u]);
      all.insert(all.end(), changes.begin(), changes.end());
    }
    return all;
  }

  // True when a joint move was committed.
  absl::StatusOr<bool> Round() {
    const int64_t round = ++session_.summary().rounds;
    BB_ASSIGN_OR_RETURN(const MovePrediction predicted,
                        context_.moves->Predict(session_.evaluator().incumbent()));
    session_.BeginPhase(absl::StrCat("round ", round), 0);
    bool moved = false;
    while (!moved && WorkLeft()) {
      const Selection next = Best(predicted);
      if (next == current_) break;
      if (!known_.insert(next).second) {
        stiffness_ *= kStiffer;
        continue;
      }
      const std::vector<ComponentFormat> delta = ChangesTo(next);
      BB_ASSIGN_OR_RETURN(Evaluation evaluation, session_.Evaluate(delta));
      const double change = objective_.Loss(evaluation) - objective_.Loss(incumbent());
      const double curvature = Sum(predicted.curvature, next);
      run_.push_back({next, evaluation});
      moved = objective_.LowerLoss(evaluation, incumbent());
      // The stiffness that would have predicted this change: moves of different units meet, and
      // K-FAC is off by a factor.
      const double seen = curvature > 0 ? (change - Sum(predicted.slope, next)) / curvature : 0;
      if (moved) {
        stiffness_ = std::max(1.0, seen);
        BB_RETURN_IF_ERROR(session_.Commit(delta));
        current_ = next;
        session_.Accept("round", delta, current_, std::move(evaluation));
      } else {
        stiffness_ = std::max(kStiffer * stiffness_, seen);
      }
    }
    session_.EndPhase();
    return moved;
  }

  void KeepBestByObjective() {
    const double ceiling = (start_loss_ + objective_.Loss(incumbent())) / 2;
    const Run* best = nullptr;
    for (const Run& run : run_) {
      if (run.selection == current_) best = &run;
    }
    for (const Run& run : run_) {
      if (objective_.Loss(run.evaluation) <= ceiling &&
          objective_.Better(run.evaluation, best->evaluation)) {
        best = &run;
      }
    }
    if (best->selection == current_) return;
    session_.Accept("objective", ChangesTo(best->selection), best->selection, best->evaluation);
  }

  const GradientDescentOptions& options_;
  const Objective& objective_;
  const SearchContext& context_;
  SearchSession& session_;
  const SearchProblem& problem_;
  Selection current_;
  double start_loss_ = 0;
  double stiffness_ = 1;  // factor on predicted curvature
  std::vector<Run> run_;  // whole, on all probes
  std::set<Selection> known_;
};

}  // namespace

absl::Status DescendByGradients(const GradientDescentOptions& options,
                                const Objective& objective,
                                const SearchContext& context,
                                SearchSession* session) {
  return Descent(options, objective, context, session).Search();
}

}  // namespace bitbudget
