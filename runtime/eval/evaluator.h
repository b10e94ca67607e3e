#ifndef BITBUDGET_RUNTIME_EVAL_EVALUATOR_H_
#define BITBUDGET_RUNTIME_EVAL_EVALUATOR_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/eval/bank.h"
#include "runtime/eval/candidate_evaluator.h"
#include "runtime/eval/forward.h"
#include "runtime/eval/reference.h"

namespace bitbudget {

struct EvaluatorOptions {
  int threads = 1;
  // Memory for the incumbent's residual stream ahead of the stages. When all stages do not fit,
  // every second, third, ... one is kept and a candidate starts at the last kept one before its
  // first change: dearer, never different.
  int64_t max_cache_bytes = int64_t{4} << 30;
};

// Runs candidates on the reference's probes, teacher-forced: one causal pass over prompt and
// reference completion gives every metric. FDT from this pass is the FDT of free-running greedy
// decoding, since both agree up to the first miss and all kernels are batch-invariant.
// A candidate starts from the incumbent's cached residual stream at its first changed stage; the
// result is bitwise that of a full pass. An interrupted SetIncumbent or Commit leaves no incumbent
// (incumbent() is empty): SetIncumbent comes next. Not thread-safe.
class Evaluator : public CandidateEvaluator {
 public:
  // All arguments outlive the evaluator.
  Evaluator(const Transformer& transformer,
            const ReferenceRun& reference,
            EncodingBank* bank,
            const EvaluatorOptions& options,
            Progress* progress);

  absl::Status SetIncumbent(const Assignment& assignment) override;
  const Assignment& incumbent() const override { return incumbent_; }
  const Evaluation& incumbent_evaluation() const override { return incumbent_evaluation_; }
  int64_t probe_count() const override;
  using CandidateEvaluator::Evaluate;
  absl::StatusOr<Evaluation> Evaluate(std::span<const ComponentFormat> delta,
                                      ProbeRange range) override;
  absl::Status Commit(std::span<const ComponentFormat> delta) override;
  double CostOf(std::optional<std::span<const ComponentFormat>> delta,
                ProbeRange range) const override;

  // One full pass with nothing cached: the incumbent is neither used nor changed.
  absl::StatusOr<Evaluation> EvaluateFromScratch(const Assignment& assignment);

  // The reference compared with itself with its activations rounded to int16: what the runtime's
  // own numerics contribute, below which differences cannot be measured.
  absl::StatusOr<Evaluation> NoiseFloor(const ReferenceWeights& reference_weights);

 private:
  // One pass from `first_stage`. `use_cache`: start from the incumbent's cached stream;
  // `save_cache`: store the stream of the stages that are run.
  absl::StatusOr<Evaluation> Run(const WeightSet& weights,
                                 int first_stage,
                                 bool use_cache,
                                 bool save_cache);
  void RunBatch(const WeightSet& weights,
                int64_t batch,
                int first_stage,
                bool use_cache,
                bool save_cache,
                ForwardScratch* scratch,
                Evaluation* out);
  ProbeResult Score(const Probe& probe,
                    int64_t index,
                    const WeightSet& weights,
                    const float* x,
                    ForwardScratch* scratch) const;
  bool IsCached(int stage) const { return (stage - 1) % cache_stride_ == 0; }
  int FirstAffected(std::span<const ComponentFormat> delta) const;

  const Transformer& transformer_;
  const ReferenceRun& reference_;
  EncodingBank* bank_;
  EvaluatorOptions options_;
  Progress* progress_;

  Assignment incumbent_;
  Evaluation incumbent_evaluation_;
  int cache_stride_ = 1;
  // cache_[batch][stage]: the residual stream [rows][hidden] ahead of the stage; empty if not kept.
  std::vector<std::vector<AlignedBuffer<float>>> cache_;
  std::vector<ForwardScratch> scratch_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_EVALUATOR_H_
