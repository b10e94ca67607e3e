#ifndef BITBUDGET_PLANNER_RUNS_STORED_EVALUATOR_H_
#define BITBUDGET_PLANNER_RUNS_STORED_EVALUATOR_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "planner/runs/run.h"
#include "runtime/eval/candidate_evaluator.h"

namespace bitbudget {

// Answers from a run's store what was measured before, by this process or an earlier one, and asks
// another evaluator for the rest. Results are kept per probe, so any range uses what overlapping
// ranges gave. The inner evaluator follows the incumbent only when it is asked something: a run
// that finds everything stored never runs the model. CostOf is the inner evaluator's, as what was
// saved must not show in a plan.
class StoredEvaluator : public CandidateEvaluator {
 public:
  // `probes`: the store's id of every probe. `inner` and `run` outlive the evaluator.
  StoredEvaluator(CandidateEvaluator* inner, Run* run, std::vector<int64_t> probes);

  absl::Status SetIncumbent(const Assignment& assignment) override;
  const Assignment& incumbent() const override { return incumbent_; }
  const Evaluation& incumbent_evaluation() const override { return incumbent_evaluation_; }
  int64_t probe_count() const override { return static_cast<int64_t>(probes_.size()); }
  using CandidateEvaluator::Evaluate;
  absl::StatusOr<Evaluation> Evaluate(std::span<const ComponentFormat> delta,
                                      ProbeRange range) override;
  absl::Status Commit(std::span<const ComponentFormat> delta) override;
  double CostOf(std::optional<std::span<const ComponentFormat>> delta,
                ProbeRange range) const override {
    return inner_.CostOf(delta, range);
  }

  // What is evaluated from now on is made of other weights, which the store calls `name` (empty: of
  // the model's). The incumbent must be set anew.
  void WeightsChanged(std::string name);

  // What measure() returns for a candidate on the probes of `range`, by the same rule. For what is
  // no delta of an incumbent; `candidate` is its name in the store. `kls`: what measure() keeps; a
  // stored result without them is measured again.
  absl::StatusOr<Evaluation> Measure(absl::string_view candidate,
                                     ProbeRange range,
                                     TokenKls kls,
                                     const std::function<absl::StatusOr<Evaluation>()>& measure);

 private:
  // The candidate's results of `range`; measure(missing) is asked for the smallest range with all
  // that are not stored.
  absl::StatusOr<Evaluation> Resolve(
      absl::string_view candidate,
      ProbeRange range,
      TokenKls kls,
      const std::function<absl::StatusOr<Evaluation>(ProbeRange)>& measure);
  // Makes incumbent() the inner evaluator's.
  absl::Status Follow();
  absl::Status SetInner(const Assignment& assignment);

  CandidateEvaluator& inner_;
  Run& run_;
  const std::vector<int64_t> probes_;
  std::string weights_;
  bool inner_is_behind_ = false;  // its incumbent is made of other weights
  Assignment incumbent_;
  Evaluation incumbent_evaluation_;
};

// An assignment's name in the store: its formats by component, separated by commas, behind the name
// of the weights that they are made of and a slash unless these are the model's.
std::string CandidateName(const Assignment& assignment, absl::string_view weights = {});

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_STORED_EVALUATOR_H_
