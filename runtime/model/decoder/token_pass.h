#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_TOKEN_PASS_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_TOKEN_PASS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/forward.h"
#include "runtime/model/decoder/transformer.h"
#include "runtime/model/decoder/weights.h"

namespace bitbudget {

// What an observer asks for. A pass computes nothing else.
struct PassNeeds {
  // The first stage that is not run. The head, the last stage, is special: its weights are asked
  // for only where logits are; its inputs take the final norm alone.
  int end_stage = 0;
  bool inputs = false;  // of matrix products
  bool logits = false;
  // Into how many parts the sequences are cut (PassObserver). 0: every sequence is one.
  int64_t parts = 0;
};

// Rows of one sequence, as an observer is shown them.
struct ObservedRows {
  int64_t part = 0;      // index, where parts were asked for
  int64_t sequence = 0;  // index
  int64_t first = 0;     // position of the first row in the sequence
  int64_t rows = 0;
  int64_t width = 0;
  const float* values = nullptr;  // [rows][width], for the length of the call
};

// Sees what a TokenPass computes. The sequences are cut into PassNeeds::parts parts of consecutive
// ones. Calls for one part come one at a time, in the order of stages, and within a stage in the
// order of sequences and positions; calls for different parts come from different threads at the
// same time. So an observer that keeps a sum per part, and adds these in order, has the same bits
// for any number of threads.
class PassObserver {
 public:
  virtual ~PassObserver() = default;

  virtual PassNeeds Needs() const = 0;

  // The residual stream x[rows][hidden] ahead of `stage`, which is behind the stage before it: all
  // rows of a sequence, for the stages after the one that the pass starts with, up to the head.
  virtual void Stream(int /*stage*/, const ObservedRows& /*x*/) {}

  // The inputs x[rows][cols] of matrix products, named as by TransformerWorkspace::observe_input.
  virtual void Inputs(ComponentId /*component*/, const ObservedRows& /*x*/) {}

  // Logits [rows][vocab], at most kLogitRows at a time, from position FirstLogit(sequence) on.
  virtual void Logits(const ObservedRows& /*logits*/) {}
  virtual int64_t FirstLogit(int64_t /*sequence*/) const { return 0; }
};

// Takes whole token sequences through the stages of a model and shows an observer what it asks for.
// Every row's result is bitwise that of its sequence alone. Not thread-safe.
class TokenPass {
 public:
  // The transformer and the tokens outlive the pass. `threads` >= 1.
  TokenPass(const Transformer& transformer,
            std::vector<std::span<const int32_t>> sequences,
            int threads);
  TokenPass(const Transformer& transformer,
            std::span<const std::vector<int32_t>> sequences,
            int threads);

  int64_t sequences() const { return static_cast<int64_t>(sequences_.size()); }
  std::span<const int32_t> tokens(int64_t sequence) const { return sequences_[sequence]; }
  int64_t Length(int64_t sequence) const { return static_cast<int64_t>(tokens(sequence).size()); }
  // Rows of all sequences ahead of this one, which may be sequences().
  int64_t FirstRow(int64_t sequence) const { return first_row_[sequence]; }
  int64_t total_rows() const { return first_row_.back(); }

  // Takes all sequences from the embedding on through the stages that the observer needs. Reports
  // them as the steps of `phase`. Errors: kCancelled on interruption, those of the weights.
  absl::Status Observe(WeightSource* weights,
                       PassObserver* observer,
                       absl::string_view phase,
                       Progress* progress);

  // Takes the residual streams x[total_rows()][hidden] ahead of stage `first` to those ahead of
  // stage `end`, at most the head; stage 0 sets them. Reports nothing. Errors as above.
  absl::Status Advance(WeightSource* weights, int first, int end, float* x, Progress* progress);

  // Consecutive sequences ahead of a stage.
  struct Start {
    int stage = 0;
    int64_t first = 0;  // sequence
    int64_t count = 0;
  };
  // The general case, for observers that cannot hold all sequences at a time: takes some of them
  // from a stage on through those that the observer needs. x as in Advance, of all sequences.
  absl::Status Run(WeightSource* weights,
                   const Start& start,
                   PassObserver* observer,
                   float* x,
                   Progress* progress);

 private:
  // What one thread runs in one go, in this order.
  struct Part {
    int64_t index = 0;
    std::vector<Batch> batches;
  };
  // One stage of one batch.
  struct Step;

  absl::Status RunParts(WeightSource* weights,
                        const Start& start,
                        PassObserver* observer,
                        float* x,
                        Steps steps,
                        Progress* progress);
  std::vector<Part> MakeParts(const Start& start, int64_t parts) const;
  absl::Status ObserveHeadInputs(std::span<const Part> parts,
                                 PassObserver* observer,
                                 const float* x,
                                 Progress* progress) const;
  void RunStep(const Step& step, const WeightSet& weights, float* x, ForwardScratch* scratch) const;
  void RunHead(const Step& step,
               const WeightSet& weights,
               const float* x,
               ForwardScratch* scratch) const;

  const Transformer& transformer_;
  const std::vector<std::span<const int32_t>> sequences_;
  std::vector<int64_t> first_row_;
  StageRunner runner_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_TOKEN_PASS_H_
