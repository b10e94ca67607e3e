#ifndef BITBUDGET_RUNTIME_MODEL_DECODER_TRANSFORMER_H_
#define BITBUDGET_RUNTIME_MODEL_DECODER_TRANSFORMER_H_

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/kernels/attention.h"
#include "runtime/model/architecture/rope.h"
#include "runtime/model/decoder/model.h"
#include "runtime/model/decoder/weights.h"

namespace bitbudget {

// Keys and values of all layers of one sequence.
struct KvCache {
  // Layers ahead of `first_layer` are left out.
  KvCache(const ModelConfig& config, int64_t max_positions, int first_layer = 0);
  int64_t size() const { return layers.empty() ? 0 : layers.back().size(); }

  std::vector<KeyValuePanels> layers;
};

// Consecutive positions of one sequence inside a batch of rows.
struct SequenceRows {
  int64_t rows = 0;
  // Earlier positions of the sequence; the new rows' keys and values are appended by every
  // attention stage. Null: the rows are a whole sequence from position 0, and nothing is kept.
  KvCache* cache = nullptr;
};

// Scratch memory of one thread of execution, grown on demand and reused. Not shareable.
struct TransformerWorkspace {
  int threads = 1;  // for the matrix products of this pass

  // When set, called with the inputs x[rows][width] of matrix products ahead of them, once for
  // components that share their inputs: with q (also of k and v), o, gate (also of up), down and
  // the head.
  std::function<void(ComponentId component, const float* x, int64_t rows, int64_t width)>
      observe_input;

  // The same activations in each packing that the weights at hand ask for.
  std::vector<PackedActivations> packed;
  AlignedBuffer<float> normed, q, k, v, context, gate, up, delta;
  AttentionWorkspace attention;
  KeyValuePanels transient;
};

// The decoder that ModelConfig describes, as the chain of stages of components.h. Immutable and
// shareable. Every row's result is bitwise independent of the batch, of chunking and of
// threads (architecture contract 1), so a teacher-forced pass and step-by-step decoding agree.
class Transformer {
 public:
  // Positions up to `max_positions`. The model outlives the transformer.
  Transformer(const Model& model, int64_t max_positions);

  const Model& model() const { return model_; }
  int64_t max_positions() const { return max_positions_; }

  // Stage 0: x[tokens.size()][hidden] = embedding rows times the embedding scale.
  void Embed(const WeightSet& weights, std::span<const int32_t> tokens, float* x) const;

  // Stages 1 .. 2L: updates the residual stream x[sum of rows][hidden] in place.
  void RunStage(int stage,
                const WeightSet& weights,
                std::span<const SequenceRows> sequences,
                float* x,
                TransformerWorkspace* workspace) const;

  // The final norm alone: out[rows][hidden].
  void FinalNorm(const float* x, int64_t ldx, int64_t rows, float* out) const;

  // Final norm, head and soft cap: logits[rows][vocab] from x[rows][hidden], row stride of x in
  // floats.
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
  // Norms every head of x[count][heads][head_dim] if there is a weight, and rotates it.
  void PrepareHeads(const RopeTable& rope,
                    std::span<const float> norm,
                    int64_t heads,
                    int64_t count,
                    int64_t first_position,
                    float* x) const;
  // x[rows][hidden] += delta, normed first if there is a weight.
  void AddToStream(std::span<const float> norm, int64_t rows, float* delta, float* x) const;

  const Model& model_;
  int64_t max_positions_;
  RopeTable rope_;
  RopeTable sliding_rope_;  // of sliding layers, empty where they have no theta of their own
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_DECODER_TRANSFORMER_H_
