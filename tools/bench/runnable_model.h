#ifndef BITBUDGET_TOOLS_BENCH_RUNNABLE_MODEL_H_
#define BITBUDGET_TOOLS_BENCH_RUNNABLE_MODEL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/model/decoder/forward.h"
#include "runtime/model/decoder/model.h"
#include "runtime/model/decoder/transformer.h"
#include "runtime/model/decoder/weights.h"
#include "tools/bench/bench.h"

namespace bitbudget {

// A model with all its matrices in one format, in memory, that runs one sequence.
class RunnableModel {
 public:
  // Embeddings that are not the head stay as they are stored. `model` and `transformer` outlive it.
  static absl::StatusOr<std::unique_ptr<RunnableModel>> Create(const Model& model,
                                                               const Transformer& transformer,
                                                               const BenchCase& what,
                                                               int threads);

  // Matrices that every token is multiplied by; the head is the last one.
  const std::vector<ComponentId>& matrices() const { return matrices_; }
  const WeightPanels& panels(ComponentId id) const { return owned_[id]->panels(); }

  // Runs tokens that follow the first `position` ones, in parts as Generate() does, and writes the
  // logits of the last one, [vocab]. What was known of positions from `position` on is forgotten.
  // REQUIRES: 0 <= position <= positions run so far.
  void Run(std::span<const int32_t> tokens, int64_t position, int threads, float* logits);

  // Checks that the products of the first and of the last layer and the head, with the inputs that
  // they have when `tokens` run, are right (CheckProduct), and that the logits after `tokens` at
  // once are those after all but the last one and then that one alone, bit by bit.
  absl::Status Check(std::span<const int32_t> tokens);

 private:
  RunnableModel(const Model& model, const Transformer& transformer, const BenchCase& what);

  const Model& model_;
  const Transformer& transformer_;
  BenchCase what_;
  Format format_;
  std::vector<std::optional<ComponentWeights>> owned_;
  WeightSet set_;
  std::vector<ComponentId> matrices_;
  KvCache cache_;
  TransformerWorkspace workspace_;
  AlignedBuffer<float> x_;
};

// The same tokens every time.
std::vector<int32_t> RandomPrompt(const Model& model, int64_t count);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_BENCH_RUNNABLE_MODEL_H_
