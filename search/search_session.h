#ifndef BITBUDGET_SEARCH_SEARCH_SESSION_H_
#define BITBUDGET_SEARCH_SEARCH_SESSION_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "search/search_method.h"

namespace bitbudget {

// What every method does around its own idea: it counts evaluations, reports progress, keeps the
// best assignment so far for the case of an interruption, and turns the end into an outcome. A
// method calls these instead of the evaluator.
class SearchSession {
 public:
  // REQUIRES: the context's problem, evaluator and reference fit together.
  explicit SearchSession(const SearchContext& context);

  const SearchProblem& problem() const { return problem_; }
  const CandidateEvaluator& evaluator() const { return evaluator_; }
  SearchSummary& summary() { return summary_; }

  // Whether the smallest choices fit the budget. Asked before anything is evaluated.
  bool Feasible() const { return problem_.SmallestBytes() <= problem_.MaxBytes(); }

  // CandidateEvaluator's functions of the same names. Each evaluation is one step of the phase.
  absl::Status SetIncumbent(const Assignment& assignment);
  absl::StatusOr<Evaluation> Evaluate(std::span<const ComponentFormat> delta);
  absl::Status Commit(std::span<const ComponentFormat> delta);

  // The same on the first probes only, a share of them that is enough to tell large effects from
  // small ones; for a prediction or to decide what to run next, never to accept a candidate.
  absl::StatusOr<Evaluation> Screen(std::span<const ComponentFormat> delta);
  // The results of `evaluation` on the probes that Screen() runs.
  Evaluation ScreenPart(const Evaluation& evaluation) const;

  // The same on some probes of the caller's choice.
  absl::StatusOr<Evaluation> EvaluateOn(std::span<const ComponentFormat> delta, ProbeRange range);

  // Evaluates `delta` on a growing share of the probes and drops it, nullopt, as soon as `hopeless`
  // says so of the results so far: they come with those of the incumbent on the same probes. Probes
  // that Screen() does not run come first: what was chosen for its results there looks better there
  // than it is. The schedule is fixed, so the outcome is reproducible.
  absl::StatusOr<std::optional<Evaluation>> Race(
      std::span<const ComponentFormat> delta,
      const std::function<bool(const Evaluation& candidate, const Evaluation& incumbent)>&
          hopeless);

  // Counts what another run of the same search did, which ends, as this one's.
  void CountWork(SearchSession& other);

  // Counts candidates that a prediction stood in for: a naive search would have run them.
  void Considered(int64_t candidates);

  // A phase of `total` evaluations; 0: unknown. It ends here, with the next phase, or with
  // Finish().
  void BeginPhase(absl::string_view name, int64_t total);
  void EndPhase();

  // Makes `selection` the result so far and adds the step to the trace.
  // REQUIRES: it fits the budget.
  void Accept(absl::string_view what,
              std::vector<ComponentFormat> changes,
              const Selection& selection,
              Evaluation evaluation);
  // A step on the way to a first assignment within the budget: in the trace, not a result.
  void Record(absl::string_view what,
              std::vector<ComponentFormat> changes,
              const Selection& selection,
              const Evaluation& evaluation);
  // The same for a first step, whose changes are all components.
  void RecordStart(const Selection& selection, const Evaluation& evaluation);
  // Makes `selection` the result; its step is in the trace. REQUIRES: it fits the budget.
  void Result(const Selection& selection, Evaluation evaluation);
  // Accept() of a first step, whose changes are all components.
  void AcceptStart(const Selection& selection, Evaluation evaluation);

  // Evaluates every selection in turn as a whole and accepts the best as the start; of equals the
  // earlier one. On an interruption the best so far is accepted. REQUIRES: all fit the budget.
  absl::Status KeepBest(std::span<const Selection> selections, const Objective& objective);

  // The end of a search in a problem where everything is pinned: the one assignment is the result
  // where it fits.
  absl::Status AcceptPinned();

  // The summary of a search that ended with `status`: kBudgetMet when it is OK, kInterrupted when
  // it is kCancelled; any other status is the caller's error.
  absl::StatusOr<SearchSummary> Finish(const absl::Status& status);

 private:
  ProbeRange AllProbes() const { return {0, evaluator_.probe_count()}; }
  absl::StatusOr<Evaluation> EvaluateRange(std::span<const ComponentFormat> delta,
                                           ProbeRange range);
  void Evaluated(const Evaluation& evaluation);

  const SearchProblem& problem_;
  CandidateEvaluator& evaluator_;
  Progress silent_;
  Progress& progress_;
  SearchSummary summary_;
  bool in_phase_ = false;
  int64_t phase_done_ = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_SEARCH_SESSION_H_
