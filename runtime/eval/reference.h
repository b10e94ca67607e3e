#ifndef BITBUDGET_RUNTIME_EVAL_REFERENCE_H_
#define BITBUDGET_RUNTIME_EVAL_REFERENCE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/aligned_buffer.h"
#include "runtime/base/progress.h"
#include "runtime/model/generate.h"
#include "runtime/model/transformer.h"

namespace bitbudget {

// A prompt and the reference's greedy completion of it.
struct Probe {
  std::vector<int32_t> tokens;  // prompt, then completion
  int64_t prompt = 0;           // tokens that are prompt, >= 1
  std::vector<float> margins;   // of every completion token: top-1 minus top-2 logit

  int64_t completion() const { return static_cast<int64_t>(tokens.size()) - prompt; }
  // Positions that a teacher-forced pass feeds; the last token is only predicted.
  int64_t rows() const { return static_cast<int64_t>(tokens.size()) - 1; }
};

// Probes that are run together by one worker.
struct ProbeBatch {
  int64_t first = 0;  // probe index
  int64_t count = 0;
  int64_t rows = 0;  // of all its probes
};

struct ReferenceOptions {
  int64_t completion_tokens = 100;
  int threads = 1;
  // Reference logits are kept when they fit into this, else recomputed from the final residual
  // stream for every comparison (the same bits, one more head product).
  int64_t max_logits_bytes = int64_t{1} << 30;
  // The completions of all prompts, where an earlier run has made them; empty: they are made.
  std::vector<Generation> completions;
};

// What the unmodified model does on a set of prompts: its greedy completions with margins, and the
// next-token distributions along them. Everything a candidate is compared with.
class ReferenceRun {
 public:
  // Errors as Generate(); kCancelled on interruption.
  static absl::StatusOr<std::unique_ptr<ReferenceRun>> Create(
      const Transformer& transformer,
      const ReferenceWeights& weights,
      std::span<const std::vector<int32_t>> prompts,
      const ReferenceOptions& options,
      Progress* progress);

  const std::vector<Probe>& probes() const { return probes_; }
  const std::vector<ProbeBatch>& batches() const { return batches_; }
  int64_t total_rows() const;

  // Reference logits [completion][vocab] of a probe and their log-sum-exp [completion]. Uses
  // `scratch` and `workspace` when they are not kept.
  std::span<const float> Logits(int64_t probe,
                                AlignedBuffer<float>* scratch,
                                TransformerWorkspace* workspace) const;
  std::span<const double> LogSumExp(int64_t probe) const { return log_sum_exp_[probe]; }

 private:
  ReferenceRun(const Transformer& transformer, const ReferenceWeights& weights)
      : transformer_(transformer), weights_(weights) {}

  const Transformer& transformer_;
  const ReferenceWeights& weights_;
  std::vector<Probe> probes_;
  std::vector<ProbeBatch> batches_;
  std::vector<AlignedBuffer<float>> final_x_;  // [completion][hidden], when logits are not kept
  std::vector<AlignedBuffer<float>> logits_;   // [completion][vocab], when they are
  std::vector<std::vector<double>> log_sum_exp_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_REFERENCE_H_
