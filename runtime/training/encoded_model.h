#ifndef BITBUDGET_RUNTIME_TRAINING_ENCODED_MODEL_H_
#define BITBUDGET_RUNTIME_TRAINING_ENCODED_MODEL_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "runtime/training/losses.h"
#include "runtime/training/model_gradient.h"
#include "runtime/training/recovery.h"

namespace bitbudget {

// The values of a component: of its encoding, or as stored where there is none.
Matrix<float> DecodedMatrix(const Model& model,
                            const ComponentEncodings& encodings,
                            ComponentId component);

// A layer with its matrices as their encodings decode, the norms behind them, and its own vectors.
LayerParameters<float> DecodedLayer(const Model& model, const EncodedModel& encoded, int layer);

std::unique_ptr<ModelEnds<float>> DecodedEnds(const Model& model, const EncodedModel& encoded);

// The layers of a model in an assignment, decoded one at a time. Everything outlives it.
class DecodedLayers final : public LayerSource<float> {
 public:
  DecodedLayers(const Model& model, const EncodedModel& encoded)
      : model_(model), encoded_(encoded) {}
  DecodedLayers(const Model& model, EncodedModel&& encoded) = delete;
  const LayerWeights<float>& Layer(int layer) override;

 private:
  const Model& model_;
  const EncodedModel& encoded_;
  int layer_ = -1;
  LayerParameters<float> parameters_;
  std::optional<LayerWeights<float>> weights_;
};

// What the original model makes of sequences: the normed rows that its head multiplies, from which
// logits are computed again where they are needed.
class OriginalOutputs {
 public:
  // Runs a few sequences at a time. kCancelled on interruption.
  static absl::StatusOr<std::unique_ptr<OriginalOutputs>> Create(
      const Model& model,
      std::span<const std::vector<int32_t>> sequences,
      int threads,
      Progress* progress);

  // The logits of a batch of these sequences, for losses; for the life of this object.
  Distillation<float>::Reference LogitsOf(std::span<const int64_t> sequences) const;

 private:
  OriginalOutputs(const Model& model, const ModelGradientOptions& options)
      : ends_(ReadEnds<float>(model)), pass_(model, options) {}

  std::unique_ptr<ModelEnds<float>> ends_;
  ModelGradient<float> pass_;
  std::vector<Matrix<float>> normed_;  // by sequence
};

// The mean KL divergence of a model in an assignment from the original, over all positions of the
// sequences, in nats per token; activations are rounded to `token_bits` (DecoderLayerOptions).
// kCancelled on interruption.
absl::StatusOr<double> MeanDivergence(const Model& model,
                                      const EncodedModel& encoded,
                                      std::span<const std::vector<int32_t>> sequences,
                                      const OriginalOutputs& original,
                                      int token_bits,
                                      int threads,
                                      Progress* progress);

// The length of the longest sequence.
int64_t LongestSequence(std::span<const std::vector<int32_t>> sequences);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_ENCODED_MODEL_H_
