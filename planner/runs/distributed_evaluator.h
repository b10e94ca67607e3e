#ifndef BITBUDGET_PLANNER_RUNS_DISTRIBUTED_EVALUATOR_H_
#define BITBUDGET_PLANNER_RUNS_DISTRIBUTED_EVALUATOR_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "planner/runs/communicator.h"
#include "runtime/eval/candidate_evaluator.h"

namespace bitbudget {

// Items (probes, windows of text) are dealt to ranks in turn: rank r of R has items r, r + R, ...
// These are a rank's own items of a range, as a range of its own numbering.
ProbeRange DealtRange(int rank, int ranks, ProbeRange range);

template <typename T>
std::vector<T> Dealt(const Communicator& ranks, std::span<const T> items) {
  std::vector<T> own;
  for (size_t i = ranks.rank(); i < items.size(); i += ranks.size()) own.push_back(items[i]);
  return own;
}

// The results of `range`, from what every rank has of its DealtRange. `what` names the meeting.
absl::StatusOr<Evaluation> GatherDealt(Communicator& ranks,
                                       absl::string_view what,
                                       ProbeRange range,
                                       const absl::StatusOr<Evaluation>& own);

// Runs every candidate on all ranks at once, each on the probes that were dealt to it: the work,
// the caches and the reference run are spread, every rank sees all results, and the search above is
// the same on all of them. A probe's result does not depend on the probes beside it, so results are
// those of one rank. All ranks make the same calls in the same order.
class DistributedEvaluator : public CandidateEvaluator {
 public:
  // `own` evaluates this rank's probes; `rows` has the decoder rows of every probe of all ranks.
  // Everything outlives the evaluator. REQUIRES: every rank has a probe.
  DistributedEvaluator(CandidateEvaluator* own, Communicator* ranks, std::vector<int64_t> rows);

  absl::Status SetIncumbent(const Assignment& assignment) override;
  const Assignment& incumbent() const override { return incumbent_; }
  const Evaluation& incumbent_evaluation() const override { return incumbent_evaluation_; }
  int64_t probe_count() const override { return static_cast<int64_t>(rows_.size()); }
  using CandidateEvaluator::Evaluate;
  absl::StatusOr<Evaluation> Evaluate(std::span<const ComponentFormat> delta,
                                      ProbeRange range) override;
  absl::Status Commit(std::span<const ComponentFormat> delta) override;
  double CostOf(std::optional<std::span<const ComponentFormat>> delta,
                ProbeRange range) const override;

 private:
  // After the rank's own evaluator took over an incumbent, or failed to.
  absl::Status TakeOver(const absl::Status& own);

  CandidateEvaluator& own_;
  Communicator& ranks_;
  const std::vector<int64_t> rows_;
  Assignment incumbent_;
  Evaluation incumbent_evaluation_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_DISTRIBUTED_EVALUATOR_H_
