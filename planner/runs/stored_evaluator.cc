#include "planner/runs/stored_evaluator.h"

#include <glog/logging.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

Evaluation Part(const Evaluation& all, ProbeRange range) {
  return Evaluation(all.begin() + range.first, all.begin() + range.first + range.count);
}

}  // namespace

std::string CandidateName(const Assignment& assignment, absl::string_view weights) {
  const std::string formats = absl::StrJoin(
      assignment, ",", [](std::string* out, const Format& format) { out->append(format.Name()); });
  return weights.empty() ? formats : absl::StrCat(weights, "/", formats);
}

StoredEvaluator::StoredEvaluator(CandidateEvaluator* inner, Run* run, std::vector<int64_t> probes)
    : inner_(*CHECK_NOTNULL(inner)), run_(*CHECK_NOTNULL(run)), probes_(std::move(probes)) {
  CHECK_EQ(probe_count(), inner_.probe_count());
}

absl::Status StoredEvaluator::SetIncumbent(const Assignment& assignment) {
  Assignment next = assignment;  // which may be incumbent_
  incumbent_.clear();
  BB_ASSIGN_OR_RETURN(Evaluation evaluation,
                      Resolve(CandidateName(next, weights_),
                              {0, probe_count()},
                              TokenKls::kSummed,
                              [&](ProbeRange missing) -> absl::StatusOr<Evaluation> {
                                BB_RETURN_IF_ERROR(SetInner(next));
                                return Part(inner_.incumbent_evaluation(), missing);
                              }));
  incumbent_ = std::move(next);
  incumbent_evaluation_ = std::move(evaluation);
  return absl::OkStatus();
}

absl::StatusOr<Evaluation> StoredEvaluator::Evaluate(std::span<const ComponentFormat> delta,
                                                     ProbeRange range) {
  CHECK(!incumbent_.empty()) << "SetIncumbent comes first";
  return Resolve(CandidateName(WithDelta(incumbent_, delta), weights_),
                 range,
                 TokenKls::kSummed,
                 [&](ProbeRange missing) -> absl::StatusOr<Evaluation> {
                   BB_RETURN_IF_ERROR(Follow());
                   return inner_.Evaluate(delta, missing);
                 });
}

absl::Status StoredEvaluator::Commit(std::span<const ComponentFormat> delta) {
  CHECK(!incumbent_.empty()) << "SetIncumbent comes first";
  Assignment next = WithDelta(incumbent_, delta);
  BB_ASSIGN_OR_RETURN(incumbent_evaluation_,
                      Resolve(CandidateName(next, weights_),
                              {0, probe_count()},
                              TokenKls::kSummed,
                              [&](ProbeRange missing) -> absl::StatusOr<Evaluation> {
                                BB_RETURN_IF_ERROR(Follow());
                                BB_RETURN_IF_ERROR(inner_.Commit(delta));
                                return Part(inner_.incumbent_evaluation(), missing);
                              }));
  incumbent_ = std::move(next);
  return absl::OkStatus();
}

absl::StatusOr<Evaluation> StoredEvaluator::Measure(
    absl::string_view candidate,
    ProbeRange range,
    TokenKls kls,
    const std::function<absl::StatusOr<Evaluation>()>& measure) {
  return Resolve(candidate, range, kls, [&](ProbeRange missing) {
    absl::StatusOr<Evaluation> all = measure();
    if (!all.ok()) return all;
    return absl::StatusOr<Evaluation>(Part(*all, {missing.first - range.first, missing.count}));
  });
}

void StoredEvaluator::WeightsChanged(std::string name) {
  weights_ = std::move(name);
  inner_is_behind_ = true;
  incumbent_.clear();
}

absl::Status StoredEvaluator::SetInner(const Assignment& assignment) {
  BB_RETURN_IF_ERROR(inner_.SetIncumbent(assignment));
  inner_is_behind_ = false;
  return absl::OkStatus();
}

absl::Status StoredEvaluator::Follow() {
  const Assignment& behind = inner_.incumbent();
  if (inner_is_behind_ || behind.empty()) return SetInner(incumbent_);
  if (behind == incumbent_) return absl::OkStatus();
  std::vector<ComponentFormat> changes;
  for (size_t c = 0; c < incumbent_.size(); ++c) {
    if (behind[c] != incumbent_[c]) changes.push_back({static_cast<ComponentId>(c), incumbent_[c]});
  }
  return inner_.Commit(changes);
}

absl::StatusOr<Evaluation> StoredEvaluator::Resolve(
    absl::string_view candidate,
    ProbeRange range,
    TokenKls kls,
    const std::function<absl::StatusOr<Evaluation>(ProbeRange)>& measure) {
  const std::span<const int64_t> ids(probes_.data() + range.first,
                                     static_cast<size_t>(range.count));
  BB_ASSIGN_OR_RETURN(const std::vector<std::optional<ProbeResult>> found,
                      run_.Find(candidate, ids));
  const auto known = [&](const std::optional<ProbeResult>& result) {
    return result.has_value() &&
           (kls == TokenKls::kSummed || result->text.tokens == 0 || !result->text.kls.empty());
  };
  const int64_t begin = std::find_if_not(found.begin(), found.end(), known) - found.begin();
  const int64_t end = found.rend() - std::find_if_not(found.rbegin(), found.rend(), known);
  Evaluation results(range.count);
  for (int64_t i = 0; i < range.count; ++i) {
    if (!found[i].has_value()) continue;
    results[i] = *found[i];
    // Another command may have asked for more: what is stored must not show.
    if (kls == TokenKls::kSummed) results[i].text.kls.clear();
  }
  if (begin >= end) return results;
  BB_ASSIGN_OR_RETURN(const Evaluation measured, measure({range.first + begin, end - begin}));
  CHECK_EQ(static_cast<int64_t>(measured.size()), end - begin);
  BB_RETURN_IF_ERROR(run_.Save(candidate, ids.subspan(begin, end - begin), measured));
  std::copy(measured.begin(), measured.end(), results.begin() + begin);
  return results;
}

}  // namespace bitbudget
