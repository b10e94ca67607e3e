#ifndef BITBUDGET_RUNTIME_EVAL_EVALUATOR_H_
#define BITBUDGET_RUNTIME_EVAL_EVALUATOR_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/eval/bank.h"
#include "runtime/eval/bounded_argmax.h"
#include "runtime/eval/candidate_evaluator.h"
#include "runtime/eval/reference.h"
#include "runtime/model/decoder/forward.h"

namespace bitbudget {

struct EvaluatorOptions {
  int threads = 1;
  // Memory for the incumbent's residual streams ahead of the stages. Where not all fit, only every
  // second, third, ... one is kept, and a candidate starts at the last kept one before its first
  // change: slower, same result. EvaluateFdt uses the rest for keys and values and takes as many
  // probes at a time as fit, at least one.
  int64_t max_cache_bytes = int64_t{4} << 30;
};

// Evaluates candidates on the reference's probes, teacher-forced: one causal pass over prompt and
// reference completion gives every metric. Its FDT is that of free-running greedy decoding: both
// agree up to the first miss, and all kernels are batch-invariant.
// A candidate starts from the incumbent's cached residual stream at its first changed stage; the
// result is bitwise that of a full pass. An interrupted SetIncumbent or Commit leaves no incumbent
// (incumbent() is empty); the next call must be SetIncumbent. Not thread-safe.
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

  // One full pass that neither uses nor changes the incumbent.
  absl::StatusOr<Evaluation> EvaluateFromScratch(const Assignment& assignment,
                                                 TokenKls kls = TokenKls::kSummed);
  // The same with weights of another bank (BankOptions::is_candidate).
  absl::StatusOr<Evaluation> EvaluateFromScratch(WeightSource* weights,
                                                 TokenKls kls = TokenKls::kSummed);

  // Only the first divergent token of every probe of the range, exactly as Evaluate() finds it, for
  // less work: rows pass in chunks of completion positions, a probe is dropped once it diverges,
  // and the head only decides whether the reference's token wins (bounded_argmax.h). Errors and
  // requirements as Evaluate.
  absl::StatusOr<std::vector<int>> EvaluateFdt(std::span<const ComponentFormat> delta,
                                               ProbeRange range);
  // The same in one full pass over all probes, without the incumbent.
  absl::StatusOr<std::vector<int>> EvaluateFdtFromScratch(const Assignment& assignment);

  // The reference with its activations rounded to int16, compared with itself: what the runtime's
  // own numerics contribute. Smaller differences cannot be measured. On the first `probes`, or all
  // if there are fewer.
  absl::StatusOr<Evaluation> NoiseFloor(int64_t probes);

 private:
  class FdtPass;  // evaluator_fdt.cc

  struct CacheUse {
    bool load = false;  // start from the incumbent's stream
    bool save = false;  // replace the incumbent's streams by those of the pass
  };
  // Makes screen_ for a head of the f32 path; null for others.
  absl::Status PrepareScreen(WeightSource* weights, const Format& head_format);
  // The first row of x[rows][hidden], the final residual stream, whose argmax is not the probe's
  // token at completion position first_position + row; `rows` if there is none.
  int64_t FirstMiss(const WeightSet& weights,
                    const float* x,
                    int64_t rows,
                    const Probe& probe,
                    int64_t first_position,
                    ForwardScratch* scratch) const;
  absl::Status Replace(Assignment assignment, int first_stage, CacheUse cache);
  absl::StatusOr<Evaluation> Run(WeightSource* weights,
                                 int first_stage,
                                 CacheUse cache,
                                 ProbeRange range,
                                 TokenKls kls = TokenKls::kSummed);
  // Compares a probe by its final residual stream x[compared][hidden].
  ProbeResult Compare(int64_t probe,
                      const WeightSet& head,
                      const WeightSet* reference_head,
                      const float* x,
                      TokenKls kls,
                      ForwardScratch* scratch) const;
  bool IsCached(int stage) const { return (stage - 1) % cache_stride_ == 0; }
  // Where a pass whose first change is at `first_stage` starts.
  int StartStage(int first_stage) const;
  int FirstAffected(std::span<const ComponentFormat> delta) const;

  const Transformer& transformer_;
  const ReferenceRun& reference_;
  EncodingBank* bank_;
  EvaluatorOptions options_;
  Progress* progress_;

  Assignment incumbent_;
  Evaluation incumbent_evaluation_;
  int cache_stride_ = 1;
  // By stage: the incumbent's residual stream [rows of all probes][hidden] ahead of it; empty where
  // it is not kept.
  std::vector<AlignedBuffer<float>> cache_;
  AlignedBuffer<float> x_;  // the stream of the running pass
  StageRunner runner_;
  // EvaluateFdt's screen for a head in this format.
  Format screened_format_;
  std::unique_ptr<BoundedArgmax> screen_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_EVALUATOR_H_
