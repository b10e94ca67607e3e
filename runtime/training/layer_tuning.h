#ifndef BITBUDGET_RUNTIME_TRAINING_LAYER_TUNING_H_
#define BITBUDGET_RUNTIME_TRAINING_LAYER_TUNING_H_

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "runtime/model/decoder/transformer.h"
#include "runtime/model/decoder/weights.h"
#include "runtime/quantize/weight_encoder.h"
#include "runtime/training/layer_error.h"
#include "runtime/training/layer_gradient.h"

namespace bitbudget {

using LayerEncodings = std::array<Encoding, kLayerMatrices>;

struct LayerTuningOptions {
  int iterations = 20;        // of the line search minimiser
  int64_t max_tokens = 4096;  // of calibration text, per layer
};

// The layer stage of learnable clipping (OmniQuant, arXiv 2308.13137, section 3.1): learns the
// scales of all seven matrices of a layer, in one dense integer format, together on the layer's
// output error ||layer' - layer||^2, for inputs and outputs of the unmodified model. Codes and zero
// points stay, so the gradient (layer_gradient.h) is exact and L-BFGS (Ceres) can follow it. Scales
// are rounded to f16 at the end and kept if they lower the error. Returns the relative error before
// and after.
std::pair<double, double> TuneLayer(const LayerSample& sample,
                                    int iterations,
                                    int threads,
                                    LayerEncodings* encodings);

// Tunes the encodings of another encoder layer by layer. For a component in a format, all matrices
// of its layer are encoded in that format, whatever an assignment gives them, tuned together and
// kept: so its encoding depends on nothing else. Formats other than dense integers, and matrices
// outside the layers, stay as the other encoder makes them.
class LayerTuningEncoder : public WeightEncoder {
 public:
  // Both outlive it.
  LayerTuningEncoder(const Model& model,
                     const WeightEncoder& encoder,
                     const LayerTuningOptions& options = {})
      : model_(model), encoder_(encoder), options_(options) {}

  // Keeps the inputs of every layer of the unmodified model, on the first sequences that together
  // reach `max_tokens`; without them nothing is tuned. Memory: tokens x hidden floats per layer.
  // Errors: kCancelled on interruption, those of the weights.
  absl::Status Calibrate(const Transformer& transformer,
                         WeightSource* weights,
                         std::span<const std::vector<int32_t>> sequences,
                         int threads,
                         Progress* progress);

  absl::StatusOr<Encoding> Encode(ComponentId id, const Format& format, int threads) const override;
  void FreeWorkspace() const override { encoder_.FreeWorkspace(); }

 private:
  struct Tuned {
    std::mutex mutex;  // held while the layer is tuned
    bool done = false;
    absl::Status status;
    LayerEncodings encodings;
  };

  absl::Status Tune(int layer, const Format& format, int threads, LayerEncodings* out) const;

  const Model& model_;
  const WeightEncoder& encoder_;
  const LayerTuningOptions options_;
  std::vector<LayerInputs> inputs_;  // by layer
  mutable std::mutex mutex_;
  mutable std::map<std::pair<int, Format>, std::unique_ptr<Tuned>> tuned_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_LAYER_TUNING_H_
