#ifndef BITBUDGET_RUNTIME_EVAL_WEIGHT_ENCODER_H_
#define BITBUDGET_RUNTIME_EVAL_WEIGHT_ENCODER_H_

#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/model.h"
#include "runtime/tensor/encoder.h"

namespace bitbudget {

// The second moments E[x_j^2] of what components are multiplied with, one per input, in f32: the
// diagonal of the Gram matrix over the tokens, what llama.cpp calls an importance matrix. By
// component, those that share their inputs under the first of them (InputSources).
using InputMoments = std::map<ComponentId, std::vector<float>>;

// An encoder for the components of a model: the one place that codes come from, whether they are
// measured or written to a file.
class WeightEncoder {
 public:
  // Both outlive it.
  WeightEncoder(const Model& model, const Encoder& encoder);

  const Model& model() const { return model_; }
  const Encoder& encoder() const { return encoder_; }

  // For encoders that need moments. Components without any (an embedding that is only looked up)
  // are encoded with all columns alike.
  void SetMoments(InputMoments moments) { moments_ = std::move(moments); }

  // A component in a format; the stored one is a copy of the checkpoint's bytes. Rows are spread
  // over threads. The errors of Encoder::Encode, naming component and format.
  absl::StatusOr<Encoding> Encode(ComponentId id, const Format& format, int threads) const;

 private:
  const Model& model_;
  const Encoder& encoder_;
  InputMoments moments_;
  std::vector<ComponentId> sources_;
  std::vector<float> ones_;  // as many as the widest component has inputs
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_EVAL_WEIGHT_ENCODER_H_
