#ifndef BITBUDGET_PLANNER_JOBS_PLAN_RETRAINING_H_
#define BITBUDGET_PLANNER_JOBS_PLAN_RETRAINING_H_

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "planner/jobs/held_out.h"
#include "planner/jobs/plan_job.h"
#include "planner/runs/run.h"
#include "planner/runs/shared_probes.h"
#include "planner/runs/training_data.h"
#include "planner/workspace/workspace.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/eval/probes.h"
#include "runtime/training/recovery.h"
#include "runtime/training/retraining.h"
#include "search/problem.h"
#include "search/retrainer.h"

namespace bitbudget {

// The sequences that a retraining of so many steps draws: one for each of a step's batch, but at
// least 64 and at most 512.
int64_t RetrainingSequences(const RetrainingSteps& steps);

// kInvalidArgument, naming a component and a format, where the search may choose formats that
// cannot be retrained.
absl::Status CheckRetrainable(const SearchProblem& problem, const Model& model);

// What a plan job works with. Everything outlives its use.
struct PlanRetrainingContext {
  const PlanOptions& options;  // with the steps of the retraining
  const ProbeMaker& maker;
  Workspace* workspace;
  SharedProbes* probes;  // of the search
  Run* run;
  Progress* progress;
};

// The training between a plan's rounds of pruning. After every round, the workspace uses the
// trained weights. Those of finished rounds are kept in the run's store, from which the same job
// takes them.
class PlanRetraining final : public Retrainer {
 public:
  explicit PlanRetraining(const PlanRetrainingContext& context);

  // Errors: those of the training data, of training, of the encoder and of the store. kCancelled
  // on interruption; what this round's training had gained is used then, but not kept.
  absl::Status Retrain(const Assignment& assignment, const RoundsDone& rounds) override;

  // The weights after the last round; null where nothing was trained.
  const TrainedWeights* weights() const { return trained_.name.empty() ? nullptr : &trained_; }

  // The encodings of an assignment, made of the trained weights, which the workspace uses from then
  // on. REQUIRES: weights() != nullptr.
  absl::StatusOr<ComponentEncodings> Encode(const Assignment& assignment);

  // What a plan says of it. The file of encodings is left to the writer. `held_out`: none where it
  // was interrupted.
  plans::Recovery Record(const std::optional<RecoveryMeasurements>& held_out) const;

 private:
  std::string NameOf(const ComponentEncodings& pruned) const;
  absl::Status MakeData();
  absl::StatusOr<ComponentEncodings> Encodings(const Assignment& assignment) const;
  // The encodings of these weights in the formats of others.
  absl::StatusOr<ComponentEncodings> Prune(const ComponentEncodings& like,
                                           const ReplacedWeights& weights) const;
  absl::StatusOr<std::optional<Retrained>> Recall(const std::string& name,
                                                  const ComponentEncodings& pruned) const;
  absl::Status Keep(const std::string& name, const Retrained& retrained) const;

  const PlanRetrainingContext in_;
  const RecoveryOptions training_;
  std::optional<TrainingData> data_;
  TrainedWeights trained_;
  std::vector<RecoveryStep> steps_;  // by round
  bool complete_ = true;
  std::chrono::steady_clock::time_point round_begin_ = std::chrono::steady_clock::now();
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_PLAN_RETRAINING_H_
