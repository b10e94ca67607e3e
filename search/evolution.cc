#include "search/evolution.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "runtime/base/random.h"
#include "runtime/base/status_macros.h"
#include "search/search_session.h"
#include "search/typical_error.h"

namespace bitbudget {
namespace {

constexpr int kOffspring = 16;
// Mutations may coincide, and must not be drawn forever where there are few.
constexpr int kDraws = 8 * kOffspring;
constexpr int kMostSwitches = 3;

// Selection on part of the probes: on how many, and how many offspring it leaves.
struct Stage {
  int64_t share;  // one part of so many
  size_t survivors;
};
constexpr std::array<Stage, 2> kStages = {{{12, 4}, {3, 1}}};

constexpr uint64_t kMutationStream = 0x65766f6c;  // of the seed

class Evolution {
 public:
  Evolution(const EvolutionOptions& options, const Objective& objective, SearchSession* session)
      : options_(options),
        objective_(objective),
        session_(*session),
        problem_(session->problem()),
        random_(options.seed, {kMutationStream}) {
    for (const std::vector<Choice>& ladder : problem_.ladders) levels_.push_back(LevelsOf(ladder));
  }

  absl::Status Search() {
    parent_ = Start();
    session_.BeginPhase("start", 1);
    BB_RETURN_IF_ERROR(session_.SetIncumbent(problem_.ToAssignment(ChoicesOf(parent_))));
    session_.AcceptStart(ChoicesOf(parent_), incumbent());
    session_.BeginPhase("generations", 0);
    while (WorkLeft()) {
      const std::vector<Levels> offspring = Offspring();
      if (offspring.empty()) break;
      ++session_.summary().rounds;
      BB_RETURN_IF_ERROR(Select(offspring));
    }
    return absl::OkStatus();
  }

 private:
  using Levels = std::vector<int>;  // by unit, an index into levels_

  // The ladder indices that are levels.
  static std::vector<int> LevelsOf(const std::vector<Choice>& ladder) {
    std::vector<int> levels;
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 0; i < ladder.size(); ++i) {
      const double error = TypicalError(ladder[i].format);
      if (error > least) continue;
      least = error;
      levels.push_back(static_cast<int>(i));
    }
    return levels;
  }

  const Evaluation& incumbent() const { return session_.evaluator().incumbent_evaluation(); }

  Selection ChoicesOf(const Levels& levels) const {
    Selection selection;
    for (size_t u = 0; u < levels.size(); ++u) selection.push_back(levels_[u][levels[u]]);
    return selection;
  }

  bool CanRaise(const Levels& levels, UnitId u) const {
    return levels[u] + 1 < static_cast<int>(levels_[u].size());
  }

  // The bytes that a unit takes more on the level after this one.
  int64_t BytesOfStep(UnitId u, int level) const {
    const std::vector<Choice>& ladder = problem_.ladders[u];
    return ladder[levels_[u][level + 1]].bytes - ladder[levels_[u][level]].bytes;
  }

  std::vector<UnitId> ShuffledUnits() {
    std::vector<UnitId> units(problem_.size());
    std::iota(units.begin(), units.end(), 0);
    random_.Shuffle(units);
    return units;
  }

  // Raises units, in this order, that fit into the bytes left. Whether there were any.
  bool Fill(const std::vector<UnitId>& units, int64_t* left, Levels* levels) const {
    bool raised = false;
    for (const UnitId u : units) {
      if (!CanRaise(*levels, u) || BytesOfStep(u, (*levels)[u]) > *left) continue;
      *left -= BytesOfStep(u, (*levels)[u]++);
      raised = true;
    }
    return raised;
  }

  Levels Start() {
    Levels levels(problem_.size(), 0);
    int64_t left = problem_.MaxBytes() - problem_.TotalBytes(ChoicesOf(levels));
    while (Fill(ShuffledUnits(), &left, &levels)) continue;
    return levels;
  }

  // nullopt: the draw does not fit the budget.
  std::optional<Levels> Mutated() {
    Levels levels = parent_;
    int64_t left = problem_.MaxBytes() - problem_.TotalBytes(ChoicesOf(parent_));
    std::vector<UnitId> others = ShuffledUnits();
    const uint64_t switches =
        1 + std::min(random_.Below(kMostSwitches), random_.Below(kMostSwitches));
    // Those that are raised are the first that can be.
    for (uint64_t i = 0; i < switches; ++i) {
      const auto up =
          std::find_if(others.begin(), others.end(), [&](UnitId u) { return CanRaise(levels, u); });
      if (up == others.end()) break;
      left -= BytesOfStep(*up, levels[*up]++);
      others.erase(up);
    }
    std::vector<UnitId> unchanged;
    for (const UnitId u : others) {
      if (left < 0 && levels[u] > 0) {
        left += BytesOfStep(u, --levels[u]);
      } else {
        unchanged.push_back(u);
      }
    }
    if (left < 0) return std::nullopt;
    Fill(unchanged, &left, &levels);
    return levels;
  }

  std::vector<Levels> Offspring() {
    std::set<Levels> known = {parent_};
    std::vector<Levels> offspring;
    for (int draw = 0; draw < kDraws && offspring.size() < kOffspring; ++draw) {
      std::optional<Levels> levels = Mutated();
      if (levels.has_value() && known.insert(*levels).second) {
        offspring.push_back(*std::move(levels));
      }
    }
    return offspring;
  }

  std::vector<ComponentFormat> DeltaOf(const Levels& levels) const {
    std::vector<ComponentFormat> delta;
    for (UnitId u = 0; u < problem_.size(); ++u) {
      if (levels[u] == parent_[u]) continue;
      const std::vector<ComponentFormat> changes = problem_.Changes(u, levels_[u][levels[u]]);
      delta.insert(delta.end(), changes.begin(), changes.end());
    }
    std::sort(delta.begin(), delta.end());
    return delta;
  }

  int64_t ProbesOf(const Stage& stage) const {
    return (session_.evaluator().probe_count() + stage.share - 1) / stage.share;
  }

  // Whether a generation, as its work is at most, is within the limit.
  bool WorkLeft() const {
    const CandidateEvaluator& evaluator = session_.evaluator();
    const double whole = evaluator.CostOf(std::nullopt, {0, evaluator.probe_count()});
    double most = 2 * whole;  // a run on all probes, and its commitment
    double candidates = kOffspring;
    for (const Stage& stage : kStages) {
      most += candidates * evaluator.CostOf(std::nullopt, {0, ProbesOf(stage)});
      candidates = static_cast<double>(stage.survivors);
    }
    return session_.summary().computed + most <= options_.max_evaluations * whole;
  }

  absl::Status Select(std::vector<Levels> candidates) {
    for (const Stage& stage : kStages) {
      const int64_t count = ProbesOf(stage);
      const uint64_t starts = static_cast<uint64_t>(session_.evaluator().probe_count() - count + 1);
      const ProbeRange range = {static_cast<int64_t>(random_.Below(starts)), count};
      std::vector<std::pair<double, size_t>> losses;
      for (size_t i = 0; i < candidates.size(); ++i) {
        BB_ASSIGN_OR_RETURN(const Evaluation evaluation,
                            session_.EvaluateOn(DeltaOf(candidates[i]), range));
        losses.emplace_back(objective_.Loss(evaluation), i);
      }
      std::sort(losses.begin(), losses.end());
      losses.resize(std::min(losses.size(), stage.survivors));
      std::vector<Levels> survivors;
      for (const auto& [loss, i] : losses) survivors.push_back(candidates[i]);
      candidates = std::move(survivors);
    }
    const std::vector<ComponentFormat> delta = DeltaOf(candidates.front());
    BB_ASSIGN_OR_RETURN(Evaluation evaluation, session_.Evaluate(delta));
    if (objective_.Loss(evaluation) >= objective_.Loss(incumbent())) return absl::OkStatus();
    BB_RETURN_IF_ERROR(session_.Commit(delta));
    parent_ = candidates.front();
    session_.Accept("generation", delta, ChoicesOf(parent_), std::move(evaluation));
    return absl::OkStatus();
  }

  const EvolutionOptions& options_;
  const Objective& objective_;
  SearchSession& session_;
  const SearchProblem& problem_;
  Random random_;
  std::vector<std::vector<int>> levels_;  // by unit
  Levels parent_;
};

class EvolutionSearch : public SearchMethod {
 public:
  EvolutionSearch(const EvolutionOptions& options, const Objective& objective)
      : options_(options), objective_(objective) {}

  absl::string_view name() const override { return "evolution"; }

  absl::StatusOr<SearchSummary> Run(const SearchContext& context) override {
    SearchSession session(context);
    if (session.problem().AllPinned()) return session.Finish(session.AcceptPinned());
    if (!session.Feasible()) return session.Finish(absl::OkStatus());
    return session.Finish(Evolution(options_, objective_, &session).Search());
  }

 private:
  const EvolutionOptions options_;
  const Objective objective_;
};

}  // namespace

std::unique_ptr<SearchMethod> MakeEvolutionSearch(const EvolutionOptions& options,
                                                  const Objective& objective) {
  return std::make_unique<EvolutionSearch>(options, objective);
}

}  // namespace bitbudget
