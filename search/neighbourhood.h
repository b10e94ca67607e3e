#ifndef BITBUDGET_SEARCH_NEIGHBOURHOOD_H_
#define BITBUDGET_SEARCH_NEIGHBOURHOOD_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "search/exact_fill.h"
#include "search/objective.h"
#include "search/search_session.h"

namespace bitbudget {

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

// How moves are measured: on all probes, or screened (SearchSession::Screen).
enum class Measuring : uint8_t { kWhole, kScreened };

// What greedy search knows of the neighbours of its incumbent: the incumbent as ladder indices, and
// every unit's next smaller and next larger step on its hull with the loss that it was measured to
// have. Loss of joint moves is predicted as the sum of theirs.
class Neighbourhood {
 public:
  // `objective` and `session` outlive it. `alone`: what choices cost alone, which gives the hulls.
  Neighbourhood(const Objective& objective,
                SearchSession& session,
                Selection incumbent,
                const CostTable& alone,
                Measuring measuring);

  const Selection& current() const { return current_; }
  bool measured(UnitId c) const { return measured_[c]; }
  std::vector<int> Neighbours(UnitId c) const;

  // Measures the unit's neighbours on the incumbent, unless their losses are fresh enough.
  absl::Status Measure(UnitId c);
  // Measures moves again that the best joint set takes and that were measured on an earlier
  // incumbent, until it has none: what is not in the running keeps its older loss.
  absl::Status RefreshBest();

  // Evaluations that Measure() takes for all units, or for those never measured from their choice.
  enum class Units : uint8_t { kNotFresh, kNotMeasured };
  int64_t EvaluationsToMeasure(Units units) const;

  // The joint moves of least predicted loss under the budget, when every move costs `penalty` on
  // top. Empty: staying is best.
  Moves BestMoves(double penalty) const;
  // The largest best set of at most `size` moves, by bisection on the penalty.
  Moves BestMovesUpTo(size_t size) const;
  // Single moves and pairs of one down and one up that fit the budget and are predicted to gain,
  // by predicted gain (ties: earlier units).
  std::vector<Moves> PredictedGains() const;

  std::vector<ComponentFormat> Changes(const Moves& moves) const;
  Selection After(const Moves& moves) const;
  // Whether the move's evaluation is that of the incumbent with it, on all probes.
  bool Known(const Moves& moves) const;

  // The session has committed the moves.
  void Committed(const Moves& moves);
  // Losses measured before this incumbent are worth nothing any more; false when all are of it.
  bool ForgetOlder();

 private:
  const Evaluation& incumbent() const { return session_.evaluator().incumbent_evaluation(); }
  bool IsFresh(UnitId c) const;
  absl::Status MeasureMove(Move* move);

  const Objective& objective_;
  SearchSession& session_;
  const SearchProblem& problem_;
  const bool screens_;
  std::vector<std::vector<int>> hulls_;   // ladder indices by increasing bytes
  Selection current_;                     // the incumbent
  int64_t version_ = 0;                   // of the incumbent: its number of commits
  int64_t oldest_useful_ = 0;             // the incumbent since which losses are worth something
  std::vector<std::vector<Move>> moves_;  // of every unit, as last measured
  std::vector<bool> measured_;            // whether moves_[c] starts from the incumbent's choice
};

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_NEIGHBOURHOOD_H_
