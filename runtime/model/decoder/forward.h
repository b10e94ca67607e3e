#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_FORWARD_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_FORWARD_H_

#include <cstdint>
#include <functional>
#include <span>
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

// Consecutive stages [first, end), each of `items` items.
struct StageSpan {
  int first = 0;
  int end = 0;
  int64_t items = 0;
};

// Whether a pass reports its steps, one for every stage of every item, to the running phase, or is
// itself one step of it, whose share is reported (Progress::Within).
enum class Steps : uint8_t { kSilent, kReported, kWithinStep };

// Takes items (batches of rows, usually) through the stages of components.h, a few stages at a
// time: pins the weights of as many stages as fit in memory, takes every item through them, and
// goes on with the next ones. Items are spread over threads; where there are fewer items than
// threads, the matrix products are. Keeps its scratch memory. Not thread-safe.
//
// This is what passes of any shape stand on. Whole sequences that start at the embedding are
// TokenPass's (token_pass.h).
class StageRunner {
 public:
  explicit StageRunner(int threads) : threads_(threads), scratch_(threads) {}

  int threads() const { return threads_; }

  // One stage of one item; calls for different items come from different threads.
  using Body = std::function<void(
      int stage, const WeightSet& weights, int64_t item, ForwardScratch* scratch)>;

  // Calls `body` for every stage and item; the stages of one item in order. The weights hold the
  // components of that stage. Asks before every call whether `progress` was interrupted
  // (kCancelled). Other errors are those of the source. REQUIRES: a first stage ahead of the end.
  absl::Status Run(WeightSource* weights,
                   const StageSpan& stages,
                   Progress* progress,
                   Steps steps,
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
