#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_TRANSFORMER_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_TRANSFORMER_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/base/aligned_buffer.h"
#include "runtime/kernels/attention.h"
#include "runtime/kernels/panels.h"
#include "runtime/model/architecture/rope.h"
#include "runtime/model/decoder/kv_cache.h"
#include "runtime/model/decoder/model.h"
#include "runtime/model/decoder/stages.h"
#include "runtime/model/decoder/weights.h"

namespace bitbudget {

// Consecutive positions of one sequence inside a batch of rows.
struct SequenceRows {
  int64_t rows = 0;
  // Earlier positions of the sequence; the new rows' keys and values are appended by every
  // attention stage. Null: the rows are a whole sequence from position 0, and nothing is kept.
  KvCache* cache = nullptr;
};

// Scratch memory of one thread of execution, grown on demand and reused. Not thread-safe.
struct TransformerWorkspace {
  int threads = 1;  // for the matrix products of this pass

  // When set, called ahead of matrix products with their inputs x[rows][width], once for components
  // that share them: with q (for k and v too), o, gate (for up too), down and the head.
  std::function<void(ComponentId component, const float* x, int64_t rows, int64_t width)>
      observe_input;

  // The inputs of one product in each packing that the weights ask for.
  std::vector<PackedActivations> packed;
  AlignedBuffer<float> normed, q, k, v, context, gate, up, delta;
  AttentionWorkspace attention;
  KeyValuePanels transient;
};

// The decoder that ModelConfig describes, as the chain of stages of stages.h. Immutable, safe to
// use from many threads. Every row's result is bitwise independent of the batch, of chunking and of
// threads (docs/design.md, "What everything rests on"), so a teacher-forced pass and step-by-step
// decoding agree.
class Transformer {
 public:
  // Positions up to `max_positions`. The model outlives the transformer.
  Transformer(const Model& model, int64_t max_positions);

  const Model& model() const { return model_; }
  int64_t max_positions() const { return max_positions_; }

  // Stage 0: x[tokens.size()][hidden] = embedding rows times the embedding scale.
  void Embed(const WeightSet& weights, std::span<const int32_t> tokens, float* x) const;

  // A stage between the embedding and the head: updates the residual stream x[sum of rows][hidden]
  // in place.
  void RunStage(int stage,
                const WeightSet& weights,
                std::span<const SequenceRows> sequences,
                float* x,
                TransformerWorkspace* workspace) const;

  // The final norm alone, with these weights [hidden]: out[rows][hidden].
  void FinalNorm(
      std::span<const float> norm, const float* x, int64_t ldx, int64_t rows, float* out) const;

  // Final norm, head and soft cap: logits[rows][vocab] from x[rows][hidden], whose rows are `ldx`
  // floats apart.
  void Logits(const WeightSet& weights,
              const float* x,
              int64_t ldx,
              int64_t rows,
              float* logits,
              TransformerWorkspace* workspace) const;

 private:
  void AttentionStage(int layer,
                      const WeightSet& weights,
                      std::span<const SequenceRows> sequences,
                      int64_t rows,
                      float* x,
                      TransformerWorkspace* workspace) const;
  void MlpStage(int layer,
                const WeightSet& weights,
                int64_t rows,
                float* x,
                TransformerWorkspace* workspace) const;
  // Norms every head of x[count][heads][head_dim] unless `norm` is empty, and rotates it.
  void PrepareHeads(const RopeTable& rope,
                    std::span<const float> norm,
                    int64_t heads,
                    int64_t count,
                    int64_t first_position,
                    float* x) const;
  // x[rows][hidden] += delta, which is normed first unless `norm` is empty.
  void AddToStream(std::span<const float> norm, int64_t rows, float* delta, float* x) const;

  const Model& model_;
  int64_t max_positions_;
  RopeTable rope_;
  RopeTable sliding_rope_;  // of sliding layers, empty where they have no theta of their own
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_TRANSFORMER_H_
