#ifndef BITBUDGET_RUNTIME_EVAL_REFERENCE_H_
#define BITBUDGET_RUNTIME_EVAL_REFERENCE_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/aligned_buffer.h"
#include "runtime/base/progress.h"
#include "runtime/eval/metrics.h"
#include "runtime/model/decoder/generate.h"
#include "runtime/model/decoder/transformer.h"

namespace bitbudget {

// The first tokens of a prompt, or of a window of text, that divergence along text is not measured
// on: what predicts them is mostly the lack of context.
inline constexpr int64_t kTextPromptTokens = 16;

// A prompt and the reference's greedy completion of it.
struct Probe {
  std::vector<int32_t> tokens;  // prompt, then completion
  int64_t prompt = 0;           // tokens that are prompt, >= 1
  std::vector<float> margins;   // of every completion token: top-1 minus top-2 logit
  // The reference's likeliest tokens at every completion position (Generation).
  std::vector<int32_t> likely;

  int64_t completion() const { return static_cast<int64_t>(tokens.size()) - prompt; }
  // Prompt tokens that divergence along text is measured on, the last ones.
  int64_t text() const { return std::max(prompt - kTextPromptTokens, int64_t{0}); }
  // Tokens that a candidate's distributions are compared on: those, then the completion's.
  int64_t compared() const { return text() + completion(); }
  // The row that predicts the first of them.
  int64_t first_compared_row() const { return prompt - text() - 1; }
  // Positions that a teacher-forced pass feeds; the last token is only predicted.
  int64_t rows() const { return static_cast<int64_t>(tokens.size()) - 1; }
};

struct ReferenceOptions {
  int64_t completion_tokens = 100;
  // False: completions only, without next-token distributions, which EvaluateFdt does not need.
  bool distributions = true;
  int threads = 1;
  // Reference logits are kept where they fit into this, else recomputed from the final residual
  // stream for every comparison: the same bits for one more head product.
  int64_t max_logits_bytes = int64_t{1} << 30;
  // For keys and values while the completions are generated (GenerateOptions).
  int64_t max_kv_bytes = int64_t{4} << 30;
  // The completions of all prompts: known ones, or others to follow in place of the reference's
  // (ProbeMaker::MakeTextProbes). Empty: they are generated.
  std::vector<Generation> completions;
};

// What the unmodified model does on a set of prompts: its greedy completions with margins, and the
// next-token distributions along them. This is all that a candidate is compared with.
class ReferenceRun {
 public:
  // `weights` are those of the unmodified model. Transformer and weights outlive the run. Errors as
  // Generate(), and those of the weights.
  static absl::StatusOr<std::unique_ptr<ReferenceRun>> Create(
      const Transformer& transformer,
      WeightSource* weights,
      std::span<const std::vector<int32_t>> prompts,
      const ReferenceOptions& options,
      Progress* progress);

  const std::vector<Probe>& probes() const { return probes_; }
  // Rows of all probes ahead of `probe`, which may be the number of probes.
  int64_t FirstRow(int64_t probe) const { return first_row_[probe]; }
  int64_t total_rows() const { return first_row_.back(); }

  // Reference logits [count][vocab] of a probe's compared tokens [first, first + count). Where they
  // are not kept, they are computed into `scratch` with `head`, the reference's weights of the
  // last stage.
  bool keeps_logits() const { return keeps_logits_; }
  std::span<const float> Logits(int64_t probe,
                                int64_t first,
                                int64_t count,
                                const WeightSet* head,
                                AlignedBuffer<float>* scratch,
                                TransformerWorkspace* workspace) const;
  // Their log-sum-exp [compared].
  std::span<const double> LogSumExp(int64_t probe) const { return log_sum_exp_[probe]; }
  // Their argmax, lowest id among ties [compared]. Along the reference's own completion these are
  // its tokens.
  std::span<const int32_t> Top(int64_t probe) const { return top_[probe]; }

  // The reference compared with itself: what a candidate of the same weights gives.
  Evaluation Own() const;

  WeightSource* weights() const { return weights_; }

 private:
  class FinalStreams;  // reference.cc

  ReferenceRun(const Transformer& transformer, WeightSource* weights)
      : transformer_(transformer), weights_(weights) {}

  // Keeps what is compared of a probe's stream ahead of the head, [rows][hidden].
  void KeepFinal(int64_t probe, std::span<const float> stream);
  // The distributions behind what KeepFinal() kept.
  absl::Status KeepDistributions(int threads, Progress* progress);

  const Transformer& transformer_;
  WeightSource* weights_;
  std::vector<Probe> probes_;
  std::vector<int64_t> first_row_;
  bool keeps_logits_ = false;
  std::vector<AlignedBuffer<float>> final_x_;  // [compared][hidden], when logits are not kept
  std::vector<AlignedBuffer<float>> logits_;   // [compared][vocab], when they are
  std::vector<std::vector<double>> log_sum_exp_;
  std::vector<std::vector<int32_t>> top_;
  std::vector<std::vector<float>> own_;  // logits of the tokens that are there [compared]
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_REFERENCE_H_
