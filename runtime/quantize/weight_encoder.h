#ifndef BITBUDGET_RUNTIME_QUANTIZE_WEIGHT_ENCODER_H_
#define BITBUDGET_RUNTIME_QUANTIZE_WEIGHT_ENCODER_H_

#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/decoder/model.h"
#include "runtime/quantize/clip_encoder.h"
#include "runtime/quantize/encoder.h"
#include "runtime/quantize/gram_factors.h"
#include "runtime/quantize/input_stats.h"

namespace bitbudget {

// The second moments E[x_j^2] of the inputs of components, one per input: the diagonal of their
// Gram matrix, which llama.cpp calls an importance matrix. Components that share their inputs are
// listed under the first of them (InputSources), unless tokens count differently for each.
using InputMoments = std::map<ComponentId, std::vector<float>>;

// Weights [rows, cols] of components that stand in place of the model's, row after row.
using ReplacedWeights = std::map<ComponentId, std::vector<float>>;

// The Gram matrices of inputs, by component as moments are.
class GramSource {
 public:
  virtual ~GramSource() = default;
  // The matrix of a component, or null where there is none. It may be put into `storage`, which
  // must live as long as it is used. Callable from many threads at a time.
  virtual absl::StatusOr<const Gram*> Find(ComponentId id, Gram* storage) const = 0;
};

// The diagonals of the Fisher information of components, in the shape of their weights.
class FisherSource {
 public:
  virtual ~FisherSource() = default;
  // That of a component; empty where there is none. It may be put into `storage`, which must live
  // as long as it is used. Callable from many threads at a time.
  virtual absl::StatusOr<std::span<const float>> Find(ComponentId id,
                                                      std::vector<float>* storage) const = 0;
};

// Encodes the components of a model: the one source of codes, whether they are evaluated or written
// to a file. The encoding of a component in a format depends only on the model and the calibration
// statistics, never on the formats of other components.
class WeightEncoder {
 public:
  virtual ~WeightEncoder() = default;

  // A component in a format; in the checkpoint's own format, a copy of its bytes. Deterministic for
  // any `threads`, and callable from many threads at a time. Errors: those of Encoder::Encode, with
  // component and format.
  virtual absl::StatusOr<Encoding> Encode(ComponentId id,
                                          const Format& format,
                                          int threads) const = 0;

  // Drops what was kept for further components with the same inputs.
  virtual void FreeWorkspace() const {}
};

// An encoder of matrices with the statistics of their inputs.
class StatsWeightEncoder : public WeightEncoder {
 public:
  // Both outlive it.
  StatsWeightEncoder(const Model& model, const Encoder& encoder);

  const Encoder& encoder() const { return encoder_; }

  // For encoders that need moments, and for kWanda. A component that is only looked up (an untied
  // embedding) has none: its columns count alike.
  void SetMoments(InputMoments moments) { moments_ = std::move(moments); }

  // For encoders that need Gram matrices; outlives it. A component that is only looked up is
  // encoded by "clip".
  void SetGrams(const GramSource* grams) {
    FreeWorkspace();
    grams_ = grams;
  }

  // For kFisher; outlives it. A component that is only looked up is pruned by magnitude: most of
  // its rows are not those of a token of the calibration text.
  void SetFisher(const FisherSource* fisher) { fisher_ = fisher; }
  bool NeedsFisher() const { return pruning_ == Pruning::kFisher; }

  // Which weights sparse formats leave out. kWanda needs moments, whatever the encoder, kFisher the
  // Fisher information.
  void SetPruning(Pruning pruning) { pruning_ = pruning; }

  // Encodes these in place of the model's weights from now on, where a component has any, but in
  // the format that the checkpoint stores; null: the model's. They outlive their use.
  void UseWeights(const ReplacedWeights* weights) { weights_ = weights; }

  // The statistics that encoder and pruning need together.
  StatsNeed needs() const;

  absl::StatusOr<Encoding> Encode(ComponentId id, const Format& format, int threads) const override;
  void FreeWorkspace() const override;

 private:
  TensorView WeightsOf(ComponentId id, const Format& format) const;
  // Of the Gram matrix of component `of`; those of the last one are kept.
  std::shared_ptr<const GramFactors> FactorsOf(ComponentId of, const Gram& gram) const;

  const Model& model_;
  const Encoder& encoder_;
  const ReplacedWeights* weights_ = nullptr;
  const std::unique_ptr<Encoder> clip_ = MakeClipEncoder();
  const GramSource* grams_ = nullptr;
  const FisherSource* fisher_ = nullptr;
  InputMoments moments_;
  Pruning pruning_ = Pruning::kMagnitude;
  std::vector<ComponentId> sources_;
  std::vector<float> ones_;   // as many as the widest component has inputs
  mutable std::mutex mutex_;  // of the next two
  mutable ComponentId factors_of_ = -1;
  mutable std::shared_ptr<const GramFactors> factors_;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_WEIGHT_ENCODER_H_
