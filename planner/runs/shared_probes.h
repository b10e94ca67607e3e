#ifndef BITBUDGET_PLANNER_RUNS_SHARED_PROBES_H_
#define BITBUDGET_PLANNER_RUNS_SHARED_PROBES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/runs/distributed_evaluator.h"
#include "planner/runs/measure.h"
#include "planner/runs/run.h"
#include "planner/runs/stored_evaluator.h"
#include "planner/workspace/workspace.h"
#include "runtime/base/progress.h"
#include "runtime/eval/probes.h"

namespace bitbudget {

inline constexpr int64_t kNoiseFloorProbes = 32;

// Token sequences, and how much the prediction behind every token counts.
struct WeightedSequences {
  std::vector<std::vector<int32_t>> tokens;
  std::vector<std::vector<float>> weights;

  // The first `count` of them.
  WeightedSequences First(size_t count) const;
  // The weights of all, one sequence after the other.
  std::vector<float> AllWeights() const;
  // The SHA-256 of all tokens and weights: what depends on them is stored under it.
  std::string Sha256() const;
};

// The probes of one role in a run: dealt over its ranks, each of which runs the reference and the
// candidates on its own ones, and with the results that its store holds. All ranks make the same
// calls in the same order and get the same results.
class SharedProbes {
 public:
  // What candidates follow after the prompt: the reference's greedy completions, or what the text
  // goes on with (ProbeMaker::MakeTextProbes; the probes must be text).
  enum class Completions : uint8_t { kReference, kText };

  // Errors as MakeProbeSet, and kInvalidArgument when there are more ranks than probes. Everything
  // passed in outlives the result.
  static absl::StatusOr<std::unique_ptr<SharedProbes>> Create(
      const ProbeMaker& maker,
      ProbeRole role,
      int64_t count,
      Workspace* workspace,
      Run* run,
      Progress* progress,
      Completions completions = Completions::kReference);

  CandidateEvaluator* evaluator() { return stored_.get(); }
  int64_t size() const { return stored_->probe_count(); }
  const std::vector<Probe>& own_probes() const { return own_.reference->probes(); }
  // Prompts with completions, of all ranks.
  const WeightedSequences& sequences() const { return sequences_; }

  // To be called when the workspace uses other weights: the evaluator's incumbent must be set anew.
  void WeightsChanged() { stored_->WeightsChanged(workspace_.weights_name()); }

  // Evaluator's functions of the same names, on the probes of all ranks. Both keep the KL of every
  // token of the prompts.
  absl::StatusOr<Evaluation> EvaluateFromScratch(const Assignment& assignment);
  // What a file of somebody else measures: a model with the settings and shapes of the workspace's
  // (CheckSameModel), in the formats that it is stored in. Its panels take their memory from the
  // workspace's bank.
  absl::StatusOr<Evaluation> EvaluateModel(const Model& other);
  // Evaluator's, on the first kNoiseFloorProbes alone, as it differs little from probe to probe.
  absl::StatusOr<Evaluation> NoiseFloor();
  // ReferenceRun::Own() of the probes of all ranks.
  absl::StatusOr<Evaluation> Own();

 private:
  SharedProbes(Workspace* workspace, Run* run) : workspace_(*workspace), run_(*run) {}

  Workspace& workspace_;
  Run& run_;
  WeightedSequences sequences_;
  ProbeSet own_;
  std::unique_ptr<DistributedEvaluator> distributed_;
  std::unique_ptr<StoredEvaluator> stored_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_RUNS_SHARED_PROBES_H_
