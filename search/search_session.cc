#include "search/search_session.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

// A sixth of the probes, at least four. On novel-1m and novel-8m the divergence of a component has
// a relative standard error of 3 to 15 % over 48 probes and so 7 to 35 % over a sixth of them:
// about what the surrogate is off anyway. Screening a quarter of them gave no better plans
// (docs/search.md, "Cheap candidates").
constexpr int64_t kMinScreenProbes = 4;
int64_t ScreenCount(const CandidateEvaluator& evaluator) {
  const int64_t probes = evaluator.probe_count();
  return std::min(probes, std::max(kMinScreenProbes, (probes + 5) / 6));
}

}  // namespace

SearchSession::SearchSession(const SearchContext& context)
    : problem_(*CHECK_NOTNULL(context.problem)),
      evaluator_(*CHECK_NOTNULL(context.evaluator)),
      progress_(context.progress != nullptr ? *context.progress : silent_) {
  CHECK_EQ(problem_.units.empty() ? problem_.components.size() : problem_.units.size(),
           problem_.ladders.size());
  CHECK_EQ(context.reference.size(), problem_.components.size());
  for (const std::vector<Choice>& ladder : problem_.ladders) CHECK(!ladder.empty());
}

void SearchSession::Evaluated(const Evaluation& evaluation) {
  ++summary_.candidates;
  progress_.Update(++phase_done_,
                   absl::StrFormat("KL %.4f, FDT %.1f",
                                   Compute(Statistic::kLoss, evaluation),
                                   Compute(Statistic::kFdtMean, evaluation)));
}

absl::Status SearchSession::SetIncumbent(const Assignment& assignment) {
  BB_RETURN_IF_ERROR(evaluator_.SetIncumbent(assignment));
  summary_.computed += evaluator_.CostOf(std::nullopt, AllProbes());
  Considered(1);
  Evaluated(evaluator_.incumbent_evaluation());
  return absl::OkStatus();
}

absl::StatusOr<Evaluation> SearchSession::EvaluateRange(std::span<const ComponentFormat> delta,
                                                        ProbeRange range) {
  BB_ASSIGN_OR_RETURN(Evaluation evaluation, evaluator_.Evaluate(delta, range));
  summary_.computed += evaluator_.CostOf(delta, range);
  return evaluation;
}

absl::StatusOr<Evaluation> SearchSession::Evaluate(std::span<const ComponentFormat> delta) {
  return EvaluateOn(delta, AllProbes());
}

absl::StatusOr<Evaluation> SearchSession::Screen(std::span<const ComponentFormat> delta) {
  return EvaluateOn(delta, {0, ScreenCount(evaluator_)});
}

absl::StatusOr<Evaluation> SearchSession::EvaluateOn(std::span<const ComponentFormat> delta,
                                                     ProbeRange range) {
  BB_ASSIGN_OR_RETURN(Evaluation evaluation, EvaluateRange(delta, range));
  Considered(1);
  Evaluated(evaluation);
  return evaluation;
}

Evaluation SearchSession::ScreenPart(const Evaluation& evaluation) const {
  return Evaluation(evaluation.begin(), evaluation.begin() + ScreenCount(evaluator_));
}

absl::StatusOr<std::optional<Evaluation>> SearchSession::Race(
    std::span<const ComponentFormat> delta,
    const std::function<bool(const Evaluation& candidate, const Evaluation& incumbent)>& hopeless) {
  const Evaluation& incumbent = evaluator_.incumbent_evaluation();
  const int64_t probes = evaluator_.probe_count();
  const int64_t screened = ScreenCount(evaluator_);
  const int64_t next = std::min(2 * screened, probes);
  Considered(1);
  Evaluation evaluation(probes);
  Evaluation seen, incumbent_seen;
  for (const auto& [begin, end] :
       {std::pair(screened, next), {next, probes}, {int64_t{0}, screened}}) {
    if (begin == end) continue;
    BB_ASSIGN_OR_RETURN(const Evaluation part, EvaluateRange(delta, {begin, end - begin}));
    std::copy(part.begin(), part.end(), evaluation.begin() + begin);
    seen.insert(seen.end(), part.begin(), part.end());
    incumbent_seen.insert(incumbent_seen.end(), incumbent.begin() + begin, incumbent.begin() + end);
    if (static_cast<int64_t>(seen.size()) < probes && hopeless(seen, incumbent_seen)) {
      Evaluated(seen);
      return std::optional<Evaluation>();
    }
  }
  Evaluated(evaluation);
  return std::optional<Evaluation>(std::move(evaluation));
}

absl::Status SearchSession::Commit(std::span<const ComponentFormat> delta) {
  BB_RETURN_IF_ERROR(evaluator_.Commit(delta));
  summary_.computed += evaluator_.CostOf(delta, AllProbes());
  return absl::OkStatus();
}

void SearchSession::CountWork(SearchSession& other) {
  other.EndPhase();
  summary_.candidates += other.summary_.candidates;
  summary_.rounds += other.summary_.rounds;
  summary_.computed += other.summary_.computed;
  summary_.naive += other.summary_.naive;
}

void SearchSession::Considered(int64_t candidates) {
  summary_.naive += static_cast<double>(candidates) * evaluator_.CostOf(std::nullopt, AllProbes());
}

void SearchSession::BeginPhase(absl::string_view name, int64_t total) {
  EndPhase();
  phase_done_ = 0;
  in_phase_ = true;
  progress_.Begin(name, total);
}

void SearchSession::EndPhase() {
  if (in_phase_) progress_.End();
  in_phase_ = false;
}

void SearchSession::Accept(absl::string_view what,
                           std::vector<ComponentFormat> changes,
                           const Selection& selection,
                           Evaluation evaluation) {
  Record(what, std::move(changes), selection, evaluation);
  Result(selection, std::move(evaluation));
}

void SearchSession::Record(absl::string_view what,
                           std::vector<ComponentFormat> changes,
                           const Selection& selection,
                           const Evaluation& evaluation) {
  TraceStep step;
  step.what = std::string(what);
  step.changes = std::move(changes);
  step.size_bytes = problem_.TotalBytes(selection);
  step.fdt_mean = Compute(Statistic::kFdtMean, evaluation);
  step.dppl = Compute(Statistic::kDppl, evaluation);
  step.kl_mean = Compute(Statistic::kKlMean, evaluation);
  step.text_kl = Compute(Statistic::kTextKl, evaluation);
  summary_.trace.push_back(std::move(step));
}

void SearchSession::Result(const Selection& selection, Evaluation evaluation) {
  CHECK(problem_.Fits(selection));
  summary_.assignment = problem_.ToAssignment(selection);
  summary_.size_bytes = problem_.TotalBytes(selection);
  summary_.evaluation = std::move(evaluation);
}

void SearchSession::RecordStart(const Selection& selection, const Evaluation& evaluation) {
  const Assignment assignment = problem_.ToAssignment(selection);
  std::vector<ComponentFormat> changes;
  for (size_t c = 0; c < assignment.size(); ++c) {
    changes.push_back({static_cast<ComponentId>(c), assignment[c]});
  }
  Record("start", std::move(changes), selection, evaluation);
}

void SearchSession::AcceptStart(const Selection& selection, Evaluation evaluation) {
  RecordStart(selection, evaluation);
  Result(selection, std::move(evaluation));
}

absl::Status SearchSession::KeepBest(std::span<const Selection> selections,
                                     const Objective& objective) {
  const Selection* best = nullptr;
  Evaluation best_evaluation;
  absl::Status status;
  BeginPhase("candidates", static_cast<int64_t>(selections.size()));
  for (const Selection& selection : selections) {
    status = SetIncumbent(problem_.ToAssignment(selection));
    if (!status.ok()) break;
    const Evaluation& evaluation = evaluator_.incumbent_evaluation();
    if (best == nullptr || objective.Better(evaluation, best_evaluation)) {
      best = &selection;
      best_evaluation = evaluation;
    }
  }
  EndPhase();
  if (best != nullptr) AcceptStart(*best, std::move(best_evaluation));
  return status;
}

absl::Status SearchSession::AcceptPinned() {
  const Selection only(problem_.size(), 0);
  if (!problem_.Fits(only)) return absl::OkStatus();
  return KeepBest({&only, 1}, Objective(Statistic::kKlMean));
}

absl::StatusOr<SearchSummary> SearchSession::Finish(const absl::Status& status) {
  EndPhase();
  if (!status.ok() && !absl::IsCancelled(status)) return status;
  if (summary_.assignment.empty()) summary_.trace.clear();  // it leads nowhere
  if (!status.ok()) {
    summary_.outcome = SearchOutcome::kInterrupted;
  } else {
    summary_.outcome =
        summary_.assignment.empty() ? SearchOutcome::kInfeasible : SearchOutcome::kBudgetMet;
  }
  return std::move(summary_);
}

}  // namespace bitbudget
