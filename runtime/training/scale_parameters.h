#ifndef BITBUDGET_RUNTIME_TRAINING_SCALE_PARAMETERS_H_
#define BITBUDGET_RUNTIME_TRAINING_SCALE_PARAMETERS_H_

#include <array>
#include <vector>

#include "runtime/model/architecture/config.h"
#include "runtime/training/layer_scales.h"

namespace bitbudget {

// The places of a layer that have scales.
enum ScalePlace : int {
  kAttentionInputScales,
  kValueScales,
  kMlpInputScales,
  kQueryKeyScales,
  kScalePlaces
};

std::vector<float>& ScalesAt(LayerScales& scales, int place);

// The scales of a layer as a vector of independent parameters, which are their logarithms: place by
// place; the two channels of query_key that the rotary embedding turns into each other share one.
class ScaleParameters {
 public:
  enum class QueryKey { kUnscaled, kScaled };
  ScaleParameters(const ModelConfig& config, QueryKey query_key);

  int size() const { return size_; }

  LayerScales Scales(const double* logs) const;
  // The inverse; places without scales get 0.
  std::vector<double> Logs(LayerScales scales) const;
  // Sets out [size()] to the gradient by the parameters.
  void Gather(const ScaleGradient& gradient, double* out) const;

 private:
  void Add(ScalePlace place, int index) { index_[place].push_back(index); }

  std::array<std::vector<int>, kScalePlaces> index_;  // of a channel's parameter
  int size_ = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_SCALE_PARAMETERS_H_
