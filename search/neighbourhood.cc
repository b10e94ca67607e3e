#include "search/neighbourhood.h"

#include <glog/logging.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "runtime/base/status_macros.h"

namespace bitbudget {

Neighbourhood::Neighbourhood(const Objective& objective,
                             SearchSession& session,
                             Selection incumbent,
                             const CostTable& alone,
                             Measuring measuring)
    : objective_(objective),
      session_(session),
      problem_(session.problem()),
      screens_(measuring == Measuring::kScreened),
      current_(std::move(incumbent)),
      moves_(problem_.size()),
      measured_(problem_.size(), false) {
  for (int c = 0; c < problem_.size(); ++c) {
    hulls_.push_back(LowerHull(problem_.ladders[c], alone[c]));
  }
}

// The choices next to the incumbent's on the unit's hull; the incumbent's own need not be
// on it.
std::vector<int> Neighbourhood::Neighbours(UnitId c) const {
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
bool Neighbourhood::IsFresh(UnitId c) const {
  return measured_[c] && (moves_[c].empty() || moves_[c].front().version >= oldest_useful_);
}

// Runs the unit's neighbours on the incumbent, unless that has been done: screened where the
// search screens. Errors of components interfere, so that a move's effect here has little to do
// with its effect alone; but what some of the probes say of it, all of them confirm
// (docs/search.md).
absl::Status Neighbourhood::Measure(UnitId c) {
  if (IsFresh(c)) return absl::OkStatus();
  moves_[c].clear();
  for (const int choice : Neighbours(c)) {
    Move move;
    move.unit = c;
    move.choice = choice;
    move.bytes = problem_.ladders[c][choice].bytes - problem_.ladders[c][current_[c]].bytes;
    BB_RETURN_IF_ERROR(MeasureMove(&move));
    moves_[c].push_back(std::move(move));
  }
  measured_[c] = true;
  return absl::OkStatus();
}

absl::Status Neighbourhood::MeasureMove(Move* move) {
  const std::vector<ComponentFormat> changes = problem_.Changes(move->unit, move->choice);
  BB_ASSIGN_OR_RETURN(move->evaluation,
                      screens_ ? session_.Screen(changes) : session_.Evaluate(changes));
  move->loss = objective_.Loss(move->evaluation) -
               objective_.Loss(screens_ ? session_.ScreenPart(incumbent()) : incumbent());
  if (std::isnan(move->loss)) move->loss = std::numeric_limits<double>::infinity();
  move->version = version_;
  return absl::OkStatus();
}

absl::Status Neighbourhood::RefreshBest() {
  while (true) {
    bool stale = false;
    for (const Move* best : BestMoves(0)) {
      if (best->version == version_) continue;
      stale = true;
      for (Move& move : moves_[best->unit]) {
        if (&move == best) BB_RETURN_IF_ERROR(MeasureMove(&move));
      }
    }
    if (!stale) return absl::OkStatus();
  }
}

int64_t Neighbourhood::EvaluationsToMeasure(Units units) const {
  int64_t evaluations = 0;
  for (int c = 0; c < problem_.size(); ++c) {
    if (units == Units::kNotFresh ? !IsFresh(c) : !measured_[c]) {
      evaluations += static_cast<int64_t>(Neighbours(c).size());
    }
  }
  return evaluations;
}

std::vector<ComponentFormat> Neighbourhood::Changes(const Moves& moves) const {
  std::vector<ComponentFormat> changes;
  for (const Move* move : moves) {
    const std::vector<ComponentFormat> own = problem_.Changes(move->unit, move->choice);
    changes.insert(changes.end(), own.begin(), own.end());
  }
  return changes;
}

Selection Neighbourhood::After(const Moves& moves) const {
  Selection selection = current_;
  for (const Move* move : moves) selection[move->unit] = move->choice;
  return selection;
}

Moves Neighbourhood::BestMoves(double penalty) const {
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

Moves Neighbourhood::BestMovesUpTo(size_t size) const {
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

std::vector<Moves> Neighbourhood::PredictedGains() const {
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

bool Neighbourhood::Known(const Moves& moves) const {
  return moves.size() == 1 && moves[0]->version == version_ && !screens_;
}

void Neighbourhood::Committed(const Moves& moves) {
  for (const Move* move : moves) {
    current_[move->unit] = move->choice;
    measured_[move->unit] = false;
  }
  ++version_;
  if (!screens_) oldest_useful_ = version_;
}

bool Neighbourhood::ForgetOlder() {
  if (oldest_useful_ == version_) return false;
  oldest_useful_ = version_;
  return true;
}

}  // namespace bitbudget
