#include "search/greedy.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "search/additive.h"
#include "search/exact_fill.h"
#include "search/search_session.h"

namespace bitbudget {
namespace {

// A step of one unit along its hull in the context of an incumbent.
struct Move {
  UnitId unit = 0;
  int choice = 0;
  int64_t bytes = 0;      // change of size
  double loss = 0;        // change of loss
  int64_t version = 0;    // of the incumbent that it was measured on
  Evaluation evaluation;  // of the incumbent with this move alone
};

using Moves = std::vector<const Move*>;  // by unit, at most one each

// What decides that a candidate replaces the incumbent: the smooth loss that moves are predicted
// in, or the objective itself. FDT is too coarse to descend by: it is decided by a few positions
// per probe. The loss uses every position, and what lowers it by a lot raises FDT as well.
enum class Stage { kLoss, kObjective };

// Evaluations per unit that measuring the start takes, those of the additive method. A quarter of
// one is enough above four bits; below, the descent does not make up for a bad start
// (docs/search.md, "greedy").
constexpr double kStartEvaluations = 1.3;

// One run of the search: the incumbent as ladder indices, and what is known about its neighbours.
class Descent {
 public:
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
    if (screens_ && oldest_useful_ < version_) {
      // What was screened long ago and not taken since may be worth taking by now.
      oldest_useful_ = version_;
      BB_RETURN_IF_ERROR(Descend());
    }
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
    current_ = MinimizeSum(problem_, alone.cost);
    BB_RETURN_IF_ERROR(session_.SetIncumbent(problem_.ToAssignment(current_)));
    start_ = incumbent();
    accepted_.insert(current_);
    session_.AcceptStart(current_, start_);
    for (int c = 0; c < problem_.size(); ++c) {
      hulls_.push_back(LowerHull(problem_.ladders[c], alone.cost[c]));
    }
    moves_.resize(problem_.size());
    measured_.assign(problem_.size(), false);
    screens_ = context.errors != nullptr;
    return absl::OkStatus();
  }

  const Evaluation& incumbent() const { return session_.evaluator().incumbent_evaluation(); }

  // The choices next to the incumbent's on the unit's hull; the incumbent's own need not be
  // on it.
  std::vector<int> Neighbours(UnitId c) const {
    const auto& ladder = problem_.ladders[c];
    const int64_t bytes = ladder[current_[c]].bytes;
    std::vector<int> neighbours;
    for (const int choice : hulls_[c]) {
      if (ladder[choice].bytes < bytes) neighbours = {choice};
    }
    for (const int choice : hulls_[c]) {
      if (ladder[choice].bytes > bytes) {
        neighbours.push_back(choice);
        break;
      }
    }
    return neighbours;
  }

  // Whether a round need not measure the unit's neighbours: they were run on the very
  // incumbent, or, where the search screens, on an earlier one; a round then runs again what it
  // would take (RefreshBest).
  bool IsFresh(UnitId c) const {
    return measured_[c] && (moves_[c].empty() || moves_[c].front().version >= oldest_useful_);
  }

  // Runs the unit's neighbours on the incumbent, unless that has been done: screened where the
  // search screens. Errors of components interfere, so that a move's effect here has little to do
  // with its effect alone; but what some of the probes say of it, all of them confirm
  // (docs/search.md).
  absl::Status Measure(UnitId c) {
    if (IsFresh(c)) return absl::OkStatus();
    moves_[c].clear();
    for (const int choice : Neighbours(c)) {
      Move move;
      move.unit = c;
      move.choice = choice;
      move.bytes = problem_.ladders[c][choice].bytes - problem_.ladders[c][current_[c]].bytes;
      BB_RETURN_IF_ERROR(RunMove(&move));
      moves_[c].push_back(std::move(move));
    }
    measured_[c] = true;
    return absl::OkStatus();
  }

  // Runs or screens a move on the incumbent.
  absl::Status RunMove(Move* move) {
    const std::vector<ComponentFormat> changes = problem_.Changes(move->unit, move->choice);
    BB_ASSIGN_OR_RETURN(move->evaluation,
                        screens_ ? session_.Screen(changes) : session_.Evaluate(changes));
    move->loss = objective_.Loss(move->evaluation) -
                 objective_.Loss(screens_ ? session_.ScreenPart(incumbent()) : incumbent());
    if (std::isnan(move->loss)) move->loss = std::numeric_limits<double>::infinity();
    move->version = version_;
    return absl::OkStatus();
  }

  // Runs moves that the best joint set takes and that were run on an earlier incumbent again, until
  // it has no such move: what is not in the running keeps its older loss.
  absl::Status RefreshBest() {
    while (true) {
      bool stale = false;
      for (const Move* best : BestMoves(0)) {
        if (best->version == version_) continue;
        stale = true;
        for (Move& move : moves_[best->unit]) {
          if (&move == best) BB_RETURN_IF_ERROR(RunMove(&move));
        }
      }
      if (!stale) return absl::OkStatus();
    }
  }

  int64_t EvaluationsToMeasure(bool all) const {
    int64_t evaluations = 0;
    for (int c = 0; c < problem_.size(); ++c) {
      if (all ? !IsFresh(c) : !measured_[c])
        evaluations += static_cast<int64_t>(Neighbours(c).size());
    }
    return evaluations;
  }

  std::vector<ComponentFormat> Changes(const Moves& moves) const {
    std::vector<ComponentFormat> changes;
    for (const Move* move : moves) {
      const std::vector<ComponentFormat> own = problem_.Changes(move->unit, move->choice);
      changes.insert(changes.end(), own.begin(), own.end());
    }
    return changes;
  }

  Selection After(const Moves& moves) const {
    Selection selection = current_;
    for (const Move* move : moves) selection[move->unit] = move->choice;
    return selection;
  }

  // The evaluation of the incumbent with `moves`, nullopt when it was dropped on the way; a single
  // move may have been run already.
  bool Known(const Moves& moves) const {
    return moves.size() == 1 && moves[0]->version == version_ && !screens_;
  }
  absl::StatusOr<std::optional<Evaluation>> Run(const Moves& moves) {
    if (Known(moves)) return std::optional<Evaluation>(moves[0]->evaluation);
    if (!screens_) {
      BB_ASSIGN_OR_RETURN(Evaluation evaluation, session_.Evaluate(Changes(moves)));
      return std::optional<Evaluation>(std::move(evaluation));
    }
    return session_.Race(
        Changes(moves), [this](const Evaluation& candidate, const Evaluation& other) {
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
    std::vector<ComponentFormat> changes = Changes(moves);
    BB_RETURN_IF_ERROR(session_.Commit(changes));
    for (const Move* move : moves) {
      current_[move->unit] = move->choice;
      measured_[move->unit] = false;
    }
    ++version_;
    if (!screens_) oldest_useful_ = version_;
    accepted_.insert(current_);
    session_.Accept(what, std::move(changes), current_, std::move(evaluation));
    return absl::OkStatus();
  }

  // The joint moves of least predicted loss under the budget, when every move costs `penalty` on
  // top. Empty: staying is best.
  Moves BestMoves(double penalty) const {
    CostTable cost(problem_.size());
    for (int c = 0; c < problem_.size(); ++c) {
      cost[c].assign(problem_.ladders[c].size(), std::numeric_limits<double>::infinity());
      cost[c][current_[c]] = 0;
      for (const Move& move : moves_[c]) cost[c][move.choice] = move.loss + penalty;
    }
    const Selection selection = MinimizeSum(problem_, cost);
    CHECK(!selection.empty());  // staying fits
    Moves moves;
    for (int c = 0; c < problem_.size(); ++c) {
      for (const Move& move : moves_[c]) {
        if (move.choice == selection[c] && selection[c] != current_[c]) moves.push_back(&move);
      }
    }
    return moves;
  }

  // The largest best set of at most `size` moves, by bisection on the penalty.
  Moves BestMovesUpTo(size_t size) const {
    if (size == 0) return {};
    double low = 0, high = 0;  // at `high` no set of moves can gain anything
    for (const auto& moves : moves_) {
      for (const Move& move : moves) high = std::max(high, -move.loss);
    }
    Moves best;
    constexpr int kBisections = 20;  // resolves the penalty to 1e-6 of the largest gain
    for (int i = 0; i < kBisections && best.size() < size; ++i) {
      const double penalty = (low + high) / 2;
      Moves moves = BestMoves(penalty);
      if (moves.size() > size) {
        low = penalty;
      } else {
        high = penalty;
        if (moves.size() > best.size()) best = std::move(moves);
      }
    }
    return best;
  }

  // True when a joint move was committed.
  absl::StatusOr<bool> Round() {
    const int64_t round = ++session_.summary().rounds;
    session_.BeginPhase(absl::StrCat("round ", round), EvaluationsToMeasure(/*all=*/true) + 1);
    for (int c = 0; c < problem_.size(); ++c) BB_RETURN_IF_ERROR(Measure(c));
    BB_RETURN_IF_ERROR(RefreshBest());
    bool moved = false;
    Moves moves = BestMoves(0);
    while (!moves.empty() && !moved) {
      BB_ASSIGN_OR_RETURN(std::optional<Evaluation> evaluation, Run(moves));
      moved = evaluation.has_value() && Acceptable(*evaluation);
      if (moved) {
        BB_RETURN_IF_ERROR(
            Commit(stage_ == Stage::kLoss ? "loss round" : "round", moves, *std::move(evaluation)));
      } else {
        moves = BestMovesUpTo(moves.size() / 2);
      }
    }
    session_.EndPhase();
    return moved;
  }

  // Single moves and pairs of one down and one up that fit the budget and are predicted to gain,
  // by predicted gain (ties: earlier units).
  std::vector<Moves> PredictedGains() const {
    const int64_t left = problem_.MaxBytes() - problem_.TotalBytes(current_);
    std::vector<const Move*> down, up;
    for (const auto& moves : moves_) {
      for (const Move& move : moves) (move.bytes < 0 ? down : up).push_back(&move);
    }
    std::vector<std::pair<double, Moves>> gains;
    auto add = [&](double loss, int64_t bytes, Moves moves) {
      if (loss < 0 && bytes <= left) gains.emplace_back(loss, std::move(moves));
    };
    for (const Move* move : down) add(move->loss, move->bytes, {move});
    for (const Move* move : up) add(move->loss, move->bytes, {move});
    for (const Move* a : down) {
      for (const Move* b : up) {
        if (a->unit == b->unit || a->loss + b->loss >= 0) continue;
        Moves pair = {a, b};
        if (a->unit > b->unit) std::swap(pair[0], pair[1]);
        add(a->loss + b->loss, a->bytes + b->bytes, std::move(pair));
      }
    }
    std::stable_sort(
        gains.begin(), gains.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<Moves> ordered;
    for (auto& [loss, moves] : gains) ordered.push_back(std::move(moves));
    return ordered;
  }

  // True when a swap was committed.
  absl::StatusOr<bool> Swaps() {
    if (swap_trials_ <= 0) return false;
    session_.BeginPhase("swaps", EvaluationsToMeasure(/*all=*/false) + swap_trials_);
    for (int c = 0; c < problem_.size(); ++c) {
      if (!measured_[c]) BB_RETURN_IF_ERROR(Measure(c));
    }
    // What was refused, as unit and choice; tried again only after a pass over everything else
    // if something has changed since.
    std::set<std::array<int, 4>> refused;
    bool moved = false, changed = false;
    while (true) {
      bool committed = false;
      for (const Moves& moves : PredictedGains()) {
        const Move& first = *moves.front();
        const Move& second = *moves.back();
        if (!refused.insert({first.unit, first.choice, second.unit, second.choice}).second) {
          continue;
        }
        if (accepted_.contains(After(moves))) continue;
        if (!Known(moves) && --swap_trials_ < 0) break;
        BB_ASSIGN_OR_RETURN(std::optional<Evaluation> evaluation, Run(moves));
        if (!evaluation.has_value() || !Acceptable(*evaluation)) continue;
        const UnitId ends[] = {first.unit, second.unit};
        BB_RETURN_IF_ERROR(Commit("swap", moves, *std::move(evaluation)));
        for (const UnitId c : ends) {
          if (measured_[c]) continue;
          swap_trials_ -= std::max<int64_t>(1, static_cast<int64_t>(Neighbours(c).size()));
          BB_RETURN_IF_ERROR(Measure(c));
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
  std::vector<std::vector<int>> hulls_;  // ladder indices by increasing bytes
  Selection current_;                    // the incumbent
  int64_t version_ = 0;                  // of the incumbent: its number of commits
  int64_t oldest_useful_ = 0;  // the incumbent since which losses of moves are worth something
  int64_t swap_trials_ = 0;    // that are left
  Evaluation start_;
  Stage stage_ = Stage::kLoss;
  double loss_ceiling_ = 0;               // of what the objective stage accepts
  std::vector<std::vector<Move>> moves_;  // of every unit, as last measured
  std::vector<bool> measured_;            // whether moves_[c] starts from the incumbent's choice
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
