#ifndef BITBUDGET_RUNTIME_QUANTIZE_GRAM_H_
#define BITBUDGET_RUNTIME_QUANTIZE_GRAM_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/base/spill_file.h"
#include "runtime/model/decoder/transformer.h"
#include "runtime/model/decoder/weights.h"
#include "runtime/quantize/input_stats.h"
#include "runtime/quantize/weight_encoder.h"

namespace bitbudget {

// The Gram matrices (the Hessians of GPTQ, up to a factor) of a model's inputs: of a component, or
// of all that share their inputs by the one that InputSources names. Those that do not fit into
// memory are in an unlinked file.
class GramStore : public GramSource {
 public:
  // Up to `max_bytes` stay in memory.
  GramStore(int64_t max_bytes, std::string spill_directory)
      : max_bytes_(max_bytes), spill_(std::move(spill_directory)) {}

  // Errors: those of SpillFile.
  absl::Status Add(ComponentId id, Gram gram);

  absl::StatusOr<const Gram*> Find(ComponentId id, Gram* storage) const override;

  // The diagonals, which are the moments.
  const InputMoments& moments() const { return moments_; }

 private:
  struct Spilled {
    int64_t offset;
    int64_t size;
  };

  int64_t max_bytes_;
  int64_t held_bytes_ = 0;
  SpillFile spill_;
  std::map<ComponentId, std::variant<Gram, Spilled>> grams_;
  InputMoments moments_;
};

// How much each token of some sequences, one after the other, counts for a component. Not negative,
// and 1 on average.
using TokenWeights = std::map<ComponentId, std::vector<float>>;

// What Gram matrices are measured on.
struct GramTokens {
  std::span<const std::vector<int32_t>> sequences;
  // Of every component that is multiplied; not owned. Null: all tokens count alike.
  const TokenWeights* weights = nullptr;
};

// Adds to `store` the Gram matrices (Hessians, up to a factor) of every component's inputs, means
// over all tokens of the sequences: E[x x^T] by source, or with weights E[weight x x^T] by
// component. The sequences go through the model stage by stage, a few thousand tokens at a
// time: memory for the residual streams of all sequences, the inputs of one stage on those tokens,
// and one stage's matrices. Products are summed in float over 1024 tokens, and so are these sums: a
// relative error of about 1e-6. The same bits for any number of threads. Errors: kCancelled on
// interruption, those of the weights and of the store.
absl::Status MeasureGrams(const Transformer& transformer,
                          WeightSource* weights,
                          const GramTokens& tokens,
                          int threads,
                          Progress* progress,
                          GramStore* store);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_GRAM_H_
