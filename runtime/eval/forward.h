#ifndef BITBUDGET_RUNTIME_EVAL_FORWARD_H_
#define BITBUDGET_RUNTIME_EVAL_FORWARD_H_

#include <cstdint>
#include <functional>
#include <mutex>
#include <span>

#include "runtime/base/aligned_buffer.h"
#include "runtime/base/progress.h"
#include "runtime/eval/reference.h"
#include "runtime/model/transformer.h"

namespace bitbudget {

// Memory of one worker of a teacher-forced pass.
struct ForwardScratch {
  TransformerWorkspace workspace;
  AlignedBuffer<float> x;
  AlignedBuffer<float> logits;
  AlignedBuffer<float> reference_logits;
};

// x[rows of all probes][hidden] = embeddings of the positions that the probes feed.
void EmbedBatch(const Transformer& transformer,
                const WeightSet& weights,
                std::span<const Probe> probes,
                AlignedBuffer<float>* x);

// Runs stages first_stage .. 2L on the residual stream x of the probes. `before(stage)` is called
// ahead of every stage, and once with the stage after the last, while x holds the stage's input.
void RunBlockStages(const Transformer& transformer,
                    const WeightSet& weights,
                    std::span<const Probe> probes,
                    int first_stage,
                    float* x,
                    TransformerWorkspace* workspace,
                    const std::function<void(int stage)>& before);

// Counts finished items of a parallel loop into a Progress phase.
class SharedProgress {
 public:
  explicit SharedProgress(Progress* progress) : progress_(progress) {}
  void Step() {
    const std::lock_guard<std::mutex> lock(mutex_);
    progress_->Update(++done_);
  }

 private:
  Progress* progress_;
  std::mutex mutex_;
  int64_t done_ = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_FORWARD_H_
