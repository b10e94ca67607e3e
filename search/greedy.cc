#include "search/greedy.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "search/additive.h"
#include "search/exact_fill.h"
#include "search/neighbourhood.h"
#include "search/search_session.h"

namespace bitbudget {
namespace {

// What decides that a candidate replaces the incumbent: the smooth loss that moves are predicted
// in, or the objective itself. FDT is too coarse to descend by: it is decided by a few positions
// per probe. The loss uses every position, and what lowers it by a lot raises FDT as well.
enum class Stage { kLoss, kObjective };

// Evaluations per unit that measuring the start takes, those of the additive method. A quarter of
// one is enough above four bits; below, the descent does not make up for a bad start
// (docs/search.md, "greedy").
constexpr double kStartEvaluations = 1.3;

class Descent {
 public:
  using Units = Neighbourhood::Units;

  Descent(const GreedyOptions& options, const Objective& objective, SearchSession& session)
      : options_(options), objective_(objective), session_(session), problem_(session.problem()) {}

  absl::Status Search(const SearchContext& context) {
    BB_RETURN_IF_ERROR(Start(context));
    swap_trials_ = options_.max_swap_trials;
    if (swap_trials_ < 0) {
      swap_trials_ = std::count_if(problem_.ladders.begin(),
                                   problem_.ladders.end(),
                                   [](const auto& ladder) { return ladder.size() > 1; });
      if (!screens_) swap_trials_ *= 2;
    }
    BB_RETURN_IF_ERROR(Descend());
    // What was screened long ago and not taken since may be worth taking by now.
    if (screens_ && near_->ForgetOlder()) BB_RETURN_IF_ERROR(Descend());
    stage_ = Stage::kObjective;
    loss_ceiling_ = (objective_.Loss(start_) + objective_.Loss(incumbent())) / 2;
    BB_RETURN_IF_ERROR(Descend());
    return absl::OkStatus();
  }

 private:
  // Rounds and swaps by turns until nothing is accepted: a swap changes the context of everything
  // else, so that rounds are worth another look.
  absl::Status Descend() {
    bool moved = true;
    while (moved) {
      while (moved && session_.summary().rounds < options_.max_rounds) {
        BB_ASSIGN_OR_RETURN(moved, Round());
      }
      BB_ASSIGN_OR_RETURN(moved, Swaps());
      moved = moved && session_.summary().rounds < options_.max_rounds;
    }
    return absl::OkStatus();
  }

  absl::Status Start(const SearchContext& context) {
    BB_ASSIGN_OR_RETURN(AloneCosts alone, MeasureAlone(context, kStartEvaluations, session_));
    session_.summary().alone = std::move(alone.measured);
    const Selection selection = MinimizeSum(problem_, alone.cost);
    BB_RETURN_IF_ERROR(session_.SetIncumbent(problem_.ToAssignment(selection)));
    start_ = incumbent();
    accepted_.insert(selection);
    session_.AcceptStart(selection, start_);
    screens_ = context.errors != nullptr;
    near_.emplace(objective_,
                  session_,
                  selection,
                  alone.cost,
                  screens_ ? Measuring::kScreened : Measuring::kWhole);
    return absl::OkStatus();
  }

  const Evaluation& incumbent() const { return session_.evaluator().incumbent_evaluation(); }

  // The evaluation of the incumbent with `moves`, nullopt when it was dropped on the way; a single
  // move may have been evaluated already.
  absl::StatusOr<std::optional<Evaluation>> Evaluate(const Moves& moves) {
    if (near_->Known(moves)) return std::optional<Evaluation>(moves[0]->evaluation);
    const std::vector<ComponentFormat> changes = near_->Changes(moves);
    if (!screens_) {
      BB_ASSIGN_OR_RETURN(Evaluation evaluation, session_.Evaluate(changes));
      return std::optional<Evaluation>(std::move(evaluation));
    }
    return session_.Race(changes, [this](const Evaluation& candidate, const Evaluation& other) {
      // What does not lower the loss of the probes so far will hardly lower it significantly.
      return stage_ == Stage::kLoss ? objective_.Loss(candidate) >= objective_.Loss(other)
                                    : objective_.Hopeless(candidate, other);
    });
  }

  bool Acceptable(const Evaluation& candidate) const {
    if (objective_.Better(start_, candidate)) return false;
    if (stage_ == Stage::kLoss) return objective_.LowerLoss(candidate, incumbent());
    return objective_.Better(candidate, incumbent()) && objective_.Loss(candidate) <= loss_ceiling_;
  }

  absl::Status Commit(absl::string_view what, const Moves& moves, Evaluation evaluation) {
    std::vector<ComponentFormat> changes = near_->Changes(moves);
    BB_RETURN_IF_ERROR(session_.Commit(changes));
    near_->Committed(moves);
    accepted_.insert(near_->current());
    session_.Accept(what, std::move(changes), near_->current(), std::move(evaluation));
    return absl::OkStatus();
  }

  // True when a joint move was committed.
  absl::StatusOr<bool> Round() {
    const int64_t round = ++session_.summary().rounds;
    session_.BeginPhase(absl::StrCat("round ", round),
                        near_->EvaluationsToMeasure(Units::kNotFresh) + 1);
    for (int c = 0; c < problem_.size(); ++c) BB_RETURN_IF_ERROR(near_->Measure(c));
    BB_RETURN_IF_ERROR(near_->RefreshBest());
    bool moved = false;
    Moves moves = near_->BestMoves(0);
    while (!moves.empty() && !moved) {
      BB_ASSIGN_OR_RETURN(std::optional<Evaluation> evaluation, Evaluate(moves));
      moved = evaluation.has_value() && Acceptable(*evaluation);
      if (moved) {
        BB_RETURN_IF_ERROR(
            Commit(stage_ == Stage::kLoss ? "loss round" : "round", moves, *std::move(evaluation)));
      } else {
        moves = near_->BestMovesUpTo(moves.size() / 2);
      }
    }
    session_.EndPhase();
    return moved;
  }

  // True when a swap was committed.
  absl::StatusOr<bool> Swaps() {
    if (swap_trials_ <= 0) return false;
    session_.BeginPhase("swaps", near_->EvaluationsToMeasure(Units::kNotMeasured) + swap_trials_);
    for (int c = 0; c < problem_.size(); ++c) {
      if (!near_->measured(c)) BB_RETURN_IF_ERROR(near_->Measure(c));
    }
    // What was refused, as unit and choice; tried again only after a pass over everything else
    // if something has changed since.
    std::set<std::array<int, 4>> refused;
    bool moved = false, changed = false;
    while (true) {
      bool committed = false;
      for (const Moves& moves : near_->PredictedGains()) {
        const Move& first = *moves.front();
        const Move& second = *moves.back();
        if (!refused.insert({first.unit, first.choice, second.unit, second.choice}).second) {
          continue;
        }
        if (accepted_.contains(near_->After(moves))) continue;
        if (!near_->Known(moves) && --swap_trials_ < 0) break;
        BB_ASSIGN_OR_RETURN(std::optional<Evaluation> evaluation, Evaluate(moves));
        if (!evaluation.has_value() || !Acceptable(*evaluation)) continue;
        const UnitId ends[] = {first.unit, second.unit};
        BB_RETURN_IF_ERROR(Commit("swap", moves, *std::move(evaluation)));
        for (const UnitId c : ends) {
          if (near_->measured(c)) continue;
          swap_trials_ -= std::max<int64_t>(1, static_cast<int64_t>(near_->Neighbours(c).size()));
          BB_RETURN_IF_ERROR(near_->Measure(c));
        }
        moved = committed = true;
        break;
      }
      if (swap_trials_ <= 0) break;
      if (committed) {
        changed = true;
      } else if (changed) {
        changed = false;
        refused.clear();
      } else {
        break;
      }
    }
    session_.EndPhase();
    return moved;
  }

  const GreedyOptions& options_;
  const Objective& objective_;
  SearchSession& session_;
  const SearchProblem& problem_;
  std::optional<Neighbourhood> near_;  // since Start()
  int64_t swap_trials_ = 0;            // that are left
  Evaluation start_;
  Stage stage_ = Stage::kLoss;
  double loss_ceiling_ = 0;  // of what the objective stage accepts
  bool screens_ = false;
  std::set<Selection> accepted_;  // so that noise cannot lead in circles
};

class GreedySearch : public SearchMethod {
 public:
  GreedySearch(const GreedyOptions& options, const Objective& objective)
      : options_(options), objective_(objective) {}

  absl::string_view name() const override { return "greedy"; }

  absl::StatusOr<SearchSummary> Run(const SearchContext& context) override {
    SearchSession session(context);
    if (!session.Feasible()) return session.Finish(absl::OkStatus());
    if (context.moves != nullptr) {
      return session.Finish(DescendByGradients(options_.gradients, objective_, context, &session));
    }
    return session.Finish(Descent(options_, objective_, session).Search(context));
  }

 private:
  const GreedyOptions options_;
  const Objective objective_;
};

}  // namespace

absl::Status GreedyOptions::Validate() const {
  if (max_rounds < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("max_rounds is ", max_rounds, "; it must be 0 or more"));
  }
  if (max_swap_trials < -1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_swap_trials is ", max_swap_trials, "; it must be 0 or more, or -1 for the default"));
  }
  return absl::OkStatus();
}

std::unique_ptr<SearchMethod> MakeGreedySearch(const GreedyOptions& options,
                                               const Objective& objective) {
  CHECK(options.Validate().ok()) << options.Validate();
  return std::make_unique<GreedySearch>(options, objective);
}

}  // namespace bitbudget
