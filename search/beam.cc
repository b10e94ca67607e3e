#include "search/beam.h"

#include <glog/logging.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"
#include "search/search_session.h"
#include "search/widths.h"

namespace bitbudget {
namespace {

// Expansions of a state that screening leaves.
constexpr size_t kConfirmed = 3;
// Units that are tried in a state, at least.
constexpr int kMinPool = 8;

// A set of units that are low, in the order in which they went.
struct State {
  std::vector<UnitId> order;
  Merit merit;

  std::vector<UnitId> Key() const {
    std::vector<UnitId> key = order;
    std::sort(key.begin(), key.end());
    return key;
  }
};

bool HigherMerit(const State& a, const State& b) { return a.merit > b.merit; }

class Beam {
 public:
  // `run` evaluates what states are ranked by.
  Beam(const BeamOptions& options, const Format& low, const Format& high, SearchSession& session)
      : options_(options),
        session_(session),
        problem_(session.problem()),
        low_(Everywhere(problem_, low)),
        high_(Everywhere(problem_, high)) {
    for (UnitId u = 0; u < problem_.size(); ++u) {
      if (low_[u] != high_[u]) moving_.push_back(u);
    }
  }

  const Selection& high() const { return high_; }

  Selection At(std::span<const UnitId> order) const {
    Selection selection = high_;
    for (const UnitId u : order) selection[u] = low_[u];
    return selection;
  }

  // The order whose end is the first of its states within the budget.
  // REQUIRES: the low format everywhere fits.
  absl::StatusOr<std::vector<UnitId>> Search() {
    std::vector<State> beam(1);
    std::optional<State> best;
    while (!beam.empty()) {
      BB_ASSIGN_OR_RETURN(std::vector<State> next, Expand(beam));
      ++session_.summary().rounds;
      beam.clear();
      std::stable_sort(next.begin(), next.end(), HigherMerit);
      if (next.size() > static_cast<size_t>(options_.width)) next.resize(options_.width);
      for (State& state : next) {
        if (!problem_.Fits(At(state.order))) {
          beam.push_back(std::move(state));
        } else if (!best.has_value() || HigherMerit(state, *best)) {
          best = std::move(state);
        }
      }
    }
    CHECK(best.has_value());  // the last depth is the low format everywhere
    return best->order;
  }

 private:
  // Makes the state the incumbent, from the present one where that is its parent.
  absl::Status Enter(const State& state) {
    if (entered_.has_value() && state.order.size() == entered_->size() + 1 &&
        std::equal(entered_->begin(), entered_->end(), state.order.begin())) {
      const UnitId u = state.order.back();
      BB_RETURN_IF_ERROR(session_.Commit(problem_.Changes(u, low_[u])));
    } else {
      BB_RETURN_IF_ERROR(session_.SetIncumbent(problem_.ToAssignment(At(state.order))));
    }
    entered_ = state.order;
    return absl::OkStatus();
  }

  // The units that are tried in a state.
  std::vector<UnitId> Pool(const State& state) const {
    const bool all = options_.exhaustive || by_merit_alone_.empty();
    const std::vector<UnitId>& units = all ? moving_ : by_merit_alone_;
    const size_t limit = all ? moving_.size() : std::max(2 * options_.width, kMinPool);
    std::vector<UnitId> pool;
    for (const UnitId u : units) {
      const bool is_low = std::find(state.order.begin(), state.order.end(), u) != state.order.end();
      if (!is_low && pool.size() < limit) pool.push_back(u);
    }
    return pool;
  }

  // The expansions of the beam's states that are left to choose from, all run on all probes.
  absl::StatusOr<std::vector<State>> Expand(const std::vector<State>& beam) {
    const size_t depth = beam[0].order.size() + 1;
    std::vector<State> expansions;
    std::set<std::vector<UnitId>> seen;
    session_.BeginPhase(absl::StrCat("depth ", depth), 0);
    for (const State& state : beam) {
      std::vector<State> own;
      for (const UnitId u : Pool(state)) {
        State& expansion = own.emplace_back(state);
        expansion.order.push_back(u);
        if (!seen.insert(expansion.Key()).second) own.pop_back();
      }
      if (own.empty()) continue;
      BB_RETURN_IF_ERROR(Enter(state));
      if (depth > 1 && !options_.exhaustive && own.size() > kConfirmed) {
        BB_RETURN_IF_ERROR(Rank(/*screened=*/true, &own));
        own.resize(kConfirmed);
      }
      BB_RETURN_IF_ERROR(Rank(/*screened=*/false, &own));
      if (depth == 1) {
        for (const State& expansion : own) by_merit_alone_.push_back(expansion.order[0]);
      }
      expansions.insert(expansions.end(), own.begin(), own.end());
    }
    session_.EndPhase();
    return expansions;
  }

  // Runs expansions of the incumbent and sorts them by merit; equal ones by unit.
  absl::Status Rank(bool screened, std::vector<State>* expansions) {
    for (State& expansion : *expansions) {
      const UnitId u = expansion.order.back();
      const std::vector<ComponentFormat> changes = problem_.Changes(u, low_[u]);
      BB_ASSIGN_OR_RETURN(const Evaluation evaluation,
                          screened ? session_.Screen(changes) : session_.Evaluate(changes));
      expansion.merit = MeritOf(options_.order, evaluation);
    }
    std::stable_sort(expansions->begin(), expansions->end(), HigherMerit);
    return absl::OkStatus();
  }

  const BeamOptions& options_;
  SearchSession& session_;
  const SearchProblem& problem_;
  const Selection low_, high_;
  std::vector<UnitId> moving_;          // units that have both formats
  std::vector<UnitId> by_merit_alone_;  // the same, highest merit first; empty ahead of depth 1
  std::optional<std::vector<UnitId>> entered_;  // the incumbent
};

class BeamSearch : public SearchMethod {
 public:
  explicit BeamSearch(const BeamOptions& options) : options_(options) {}

  absl::string_view name() const override { return "beam"; }

  absl::StatusOr<SearchSummary> Run(const SearchContext& context) override {
    SearchSession session(context);
    return session.Finish(Search(context, session));
  }

 private:
  absl::Status Search(const SearchContext& context, SearchSession& session) const {
    const SearchProblem& problem = session.problem();
    if (!session.Feasible()) return absl::OkStatus();
    if (problem.AllPinned()) return session.AcceptPinned();
    const std::vector<std::vector<Format>> chains = WidthChains(problem);
    if (chains.empty()) return absl::OkStatus();
    const Format low = chains[0].front();
    const Format high = chains[0].back();
    std::vector<UnitId> order;
    if (!problem.Fits(Everywhere(problem, high))) {
      SearchContext ranking = context;
      if (options_.order == MeritKind::kPpl) {
        if (context.text == nullptr) {
          return absl::InvalidArgumentError("beam search: the order by ppl needs text");
        }
        ranking.evaluator = context.text;
      }
      SearchSession ranked(ranking);
      absl::StatusOr<std::vector<UnitId>> found = Beam(options_, low, high, ranked).Search();
      session.CountWork(ranked);
      BB_RETURN_IF_ERROR(found.status());
      order = *std::move(found);
    }
    return Trace(low, high, order, session);
  }

  // Runs the order from its start, step by step, so that the trace has its figures; the end of it
  // is the result.
  static absl::Status Trace(const Format& low,
                            const Format& high,
                            const std::vector<UnitId>& order,
                            SearchSession& session) {
    const SearchProblem& problem = session.problem();
    const Selection lows = Everywhere(problem, low);
    Selection selection = Everywhere(problem, high);
    session.BeginPhase("the order found", static_cast<int64_t>(order.size()) + 1);
    BB_RETURN_IF_ERROR(session.SetIncumbent(problem.ToAssignment(selection)));
    session.RecordStart(selection, session.evaluator().incumbent_evaluation());
    for (const UnitId u : order) {
      selection[u] = lows[u];
      std::vector<ComponentFormat> changes = problem.Changes(u, lows[u]);
      BB_RETURN_IF_ERROR(session.Commit(changes));
      session.Record(
          "lowered", std::move(changes), selection, session.evaluator().incumbent_evaluation());
    }
    session.Result(selection, session.evaluator().incumbent_evaluation());
    return absl::OkStatus();
  }

  const BeamOptions options_;
};

}  // namespace

absl::Status BeamOptions::Validate() const {
  if (width < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the beam width is ", width, "; it must be 1 or more"));
  }
  return absl::OkStatus();
}

std::unique_ptr<SearchMethod> MakeBeamSearch(const BeamOptions& options) {
  CHECK(options.Validate().ok()) << options.Validate();
  return std::make_unique<BeamSearch>(options);
}

}  // namespace bitbudget
