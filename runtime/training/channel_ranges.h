#ifndef BITBUDGET_RUNTIME_TRAINING_CHANNEL_RANGES_H_
#define BITBUDGET_RUNTIME_TRAINING_CHANNEL_RANGES_H_

#include <vector>

#include "runtime/model/architecture/config.h"
#include "runtime/training/layer_gradient.h"
#include "runtime/training/scale_parameters.h"

namespace bitbudget {

// max|X| of inputs and max|W| of weights, by channel.
struct ChannelRanges {
  std::vector<double> inputs;
  std::vector<double> weights;
};

// Those of a place other than query_key, in a layer and its trace.
ChannelRanges RangesOf(const ModelConfig& config,
                       ScalePlace place,
                       const LayerParameters<float>& parameters,
                       const LayerTrace<float>& trace);

// Scales max|X|^a / max|W|^(1-a) (SmoothQuant, arXiv 2211.10438, equation 4), with a geometric mean
// of 1.
std::vector<float> ScalesOfRatio(const ChannelRanges& ranges, double ratio);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_CHANNEL_RANGES_H_
