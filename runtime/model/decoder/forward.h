#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_FORWARD_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_FORWARD_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "runtime/base/aligned_buffer.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/transformer.h"
#include "runtime/model/decoder/weights.h"

namespace bitbudget {

// Rows per batch of a pass: the kernels are at full speed from a few dozen rows, and small batches
// spread over threads and leave the caches warm.
inline constexpr int64_t kBatchRows = 192;

// Rows whose logits are looked at together: bounds what the head needs per thread.
inline constexpr int64_t kLogitRows = 96;

// Memory of one worker of a pass.
struct ForwardScratch {
  TransformerWorkspace workspace;
  AlignedBuffer<float> logits;            // [kLogitRows][vocab]
  AlignedBuffer<float> reference_logits;  // the same
};

// Runs passes over the stages of components.h, a few stages at a time: the weights of as many
// stages as fit in memory are pinned, every item (a batch of rows, usually) goes through them, then
// come the next stages. So weights are needed a stage at a time and are used while they are there.
// Items are spread over threads; when there are fewer items than threads, the matrix products are.
// Keeps scratch memory from pass to pass. Not thread-safe.
class StageRunner {
 public:
  explicit StageRunner(int threads) : threads_(threads), scratch_(threads) {}

  int threads() const { return threads_; }

  // One stage of one item; calls for different items come from different threads.
  using Body = std::function<void(
      int stage, const WeightSet& weights, int64_t item, ForwardScratch* scratch)>;

  // Calls body(stage, weights, item, scratch) for every stage in [first, end) and every item; the
  // stages of one item in order. The weights hold the components of that stage. Before every call
  // it asks whether `progress` was interrupted (kCancelled); `report` counts the calls, of which
  // there are (end - first) * items, as steps of its phase. Other errors are those of the source.
  // REQUIRES: first < end.
  absl::Status Run(WeightSource* weights,
                   int first,
                   int end,
                   int64_t items,
                   Progress* progress,
                   bool report,
                   const Body& body);

 private:
  int threads_;
  std::vector<ForwardScratch> scratch_;
};

// Consecutive items that are run together.
struct Batch {
  int64_t first = 0;      // item index
  int64_t count = 0;      // items
  int64_t first_row = 0;  // rows ahead of it
  int64_t rows = 0;
};

// Cuts items of the given numbers of rows into consecutive batches of at least `rows_per_batch`
// rows (but for the last one).
std::vector<Batch> MakeBatches(std::span<const int64_t> rows, int64_t rows_per_batch = kBatchRows);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_FORWARD_H_
