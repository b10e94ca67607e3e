#include "planner/runs/distributed_evaluator.h"

#include <glog/logging.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "planner/runs/messages.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

ProbeRange DealtRange(int rank, int ranks, ProbeRange range) {
  // How many of the items below `end` are the rank's: ceil((end - rank) / ranks).
  const auto own_before = [&](int64_t end) {
    return end <= rank ? 0 : (end - rank + ranks - 1) / ranks;
  };
  const int64_t first = own_before(range.first);
  return {first, own_before(range.first + range.count) - first};
}

absl::StatusOr<Evaluation> GatherDealt(Communicator& ranks,
                                       absl::string_view what,
                                       ProbeRange range,
                                       const absl::StatusOr<Evaluation>& own) {
  if (ranks.size() == 1) return own;
  BB_ASSIGN_OR_RETURN(const std::vector<std::string> sent,
                      ranks.Exchange(what,
                                     own.ok() ? absl::StatusOr<std::string>(SerializeResults(*own))
                                              : absl::StatusOr<std::string>(own.status())));
  std::vector<Evaluation> parts;
  for (int r = 0; r < ranks.size(); ++r) {
    BB_ASSIGN_OR_RETURN(Evaluation part, ParseResults(sent[r], absl::StrCat("rank ", r)));
    parts.push_back(std::move(part));
  }
  std::vector<size_t> next(parts.size(), 0);
  Evaluation all;
  for (int64_t i = range.first; i < range.first + range.count; ++i) {
    const size_t r = static_cast<size_t>(i % ranks.size());
    if (next[r] == parts[r].size()) {
      return absl::InternalError(absl::StrCat("rank ", r, " sent too few results of ", what));
    }
    all.push_back(parts[r][next[r]++]);
  }
  return all;
}

DistributedEvaluator::DistributedEvaluator(CandidateEvaluator* own,
                                           Communicator* ranks,
                                           std::vector<int64_t> rows)
    : own_(*CHECK_NOTNULL(own)), ranks_(*CHECK_NOTNULL(ranks)), rows_(std::move(rows)) {
  CHECK_GE(probe_count(), ranks_.size());
  CHECK_EQ(own_.probe_count(), DealtRange(ranks_.rank(), ranks_.size(), {0, probe_count()}).count);
}

absl::Status DistributedEvaluator::SetIncumbent(const Assignment& assignment) {
  Assignment next = assignment;  // which may be incumbent_
  incumbent_.clear();
  BB_RETURN_IF_ERROR(TakeOver(own_.SetIncumbent(next)));
  incumbent_ = std::move(next);
  return absl::OkStatus();
}

absl::StatusOr<Evaluation> DistributedEvaluator::Evaluate(std::span<const ComponentFormat> delta,
                                                          ProbeRange range) {
  CHECK(!incumbent_.empty()) << "SetIncumbent comes first";
  const ProbeRange own_range = DealtRange(ranks_.rank(), ranks_.size(), range);
  absl::StatusOr<Evaluation> own = Evaluation();
  if (own_range.count > 0) own = own_.Evaluate(delta, own_range);
  return GatherDealt(ranks_, "a candidate", range, own);
}

absl::Status DistributedEvaluator::Commit(std::span<const ComponentFormat> delta) {
  CHECK(!incumbent_.empty()) << "SetIncumbent comes first";
  Assignment next = WithDelta(std::exchange(incumbent_, {}), delta);
  BB_RETURN_IF_ERROR(TakeOver(own_.Commit(delta)));
  incumbent_ = std::move(next);
  return absl::OkStatus();
}

absl::Status DistributedEvaluator::TakeOver(const absl::Status& own) {
  BB_ASSIGN_OR_RETURN(
      incumbent_evaluation_,
      GatherDealt(ranks_,
                  "an incumbent",
                  {0, probe_count()},
                  own.ok() ? absl::StatusOr<Evaluation>(own_.incumbent_evaluation()) : own));
  return absl::OkStatus();
}

double DistributedEvaluator::CostOf(std::optional<std::span<const ComponentFormat>> delta,
                                    ProbeRange range) const {
  // Cost is rows times layers, and layers are half numbers: the quotient is exact.
  const double layers = own_.CostOf(delta, {0, 1}) / static_cast<double>(rows_[ranks_.rank()]);
  int64_t rows = 0;
  for (int64_t i = range.first; i < range.first + range.count; ++i) rows += rows_[i];
  return static_cast<double>(rows) * layers;
}

}  // namespace bitbudget
