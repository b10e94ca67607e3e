#ifndef BITBUDGET_RUNTIME_QUANTIZE_WEIGHT_ENCODER_H_
#define BITBUDGET_RUNTIME_QUANTIZE_WEIGHT_ENCODER_H_

#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/decoder/model.h"
#include "runtime/quantize/encoder.h"
#include "runtime/quantize/input_stats.h"

namespace bitbudget {

// The second moments E[x_j^2] of what components are multiplied with, one per input, in f32: the
// diagonal of the Gram matrix over the tokens, what llama.cpp calls an importance matrix. By
// component, those that share their inputs under the first of them (InputSources).
using InputMoments = std::map<ComponentId, std::vector<float>>;

// Where Gram matrices of inputs are, by component as moments are.
class GramSource {
 public:
  virtual ~GramSource() = default;
  // The matrix of a component, or null where there is none; `storage` may be where it is put.
  // Callable from many threads at a time.
  virtual absl::StatusOr<const Gram*> Find(ComponentId source, Gram* storage) const = 0;
};

// Encodes the components of a model: the one place that codes come from, whether they are measured
// or written to a file. What a component is in a format depends on nothing but the model and what
// the encoder was given of calibration text: never on the formats of other components.
class WeightEncoder {
 public:
  virtual ~WeightEncoder() = default;

  // A component in a format; the stored one is a copy of the checkpoint's bytes. Deterministic for
  // any `threads`, and callable from many threads at a time. The errors of Encoder::Encode, naming
  // component and format.
  virtual absl::StatusOr<Encoding> Encode(ComponentId id,
                                          const Format& format,
                                          int threads) const = 0;
};

// An encoder of matrices with what it needs to know of their inputs.
class StatsWeightEncoder : public WeightEncoder {
 public:
  // Both outlive it.
  StatsWeightEncoder(const Model& model, const Encoder& encoder);

  const Encoder& encoder() const { return encoder_; }

  // For encoders that need moments. Components without any (an embedding that is only looked up)
  // are encoded with all columns alike.
  void SetMoments(InputMoments moments) { moments_ = std::move(moments); }

  // For encoders that need Gram matrices; outlives it. Components without any are encoded by
  // "clip", for which all columns are alike.
  void SetGrams(const GramSource* grams) { grams_ = grams; }

  // How sparse formats choose what they leave out. kWanda needs moments, whatever the encoder.
  void SetPruning(Pruning pruning) { pruning_ = pruning; }

  // What it is to be told of inputs.
  StatsNeed needs() const;

  absl::StatusOr<Encoding> Encode(ComponentId id, const Format& format, int threads) const override;

 private:
  const Model& model_;
  const Encoder& encoder_;
  const std::unique_ptr<Encoder> clip_ = MakeClipEncoder();
  const GramSource* grams_ = nullptr;
  InputMoments moments_;
  Pruning pruning_ = Pruning::kMagnitude;
  std::vector<ComponentId> sources_;
  std::vector<float> ones_;  // as many as the widest component has inputs
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_WEIGHT_ENCODER_H_
