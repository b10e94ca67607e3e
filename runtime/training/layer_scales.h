#ifndef BITBUDGET_RUNTIME_TRAINING_LAYER_SCALES_H_
#define BITBUDGET_RUNTIME_TRAINING_LAYER_SCALES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/model/architecture/config.h"
#include "runtime/training/layer_gradient.h"

namespace bitbudget {

// Scales (and shifts) per channel that do not change what a layer computes, but for rounding
// (OmniQuant's learnable equivalent transformation, arXiv 2308.13137, section 3.3): a scale divided
// out of one parameter is multiplied into its neighbours. All are [channels]; empty: all 1 (shifts:
// all 0). Query heads that share a key/value head share its channels' scales.
struct LayerScales {
  std::vector<float> attention_input;  // out of the norm, into the columns of q, k and v
  std::vector<float> mlp_input;        // out of the norm, into the columns of gate and up
  std::vector<float> value;            // out of the rows of v, into the columns of o
  // Out of the rows of q, into those of k. The two channels that the rotary embedding turns into
  // each other have one scale, else it would not be the same product. Not with norms between.
  std::vector<float> query_key;
  // Subtracted from v (before its scale), added to the output of o: the weights of a position add
  // up to 1. Where both have biases.
  std::vector<float> value_shift;
};

// Whether models of this shape have these scales.
bool HasQueryKeyScales(const ModelConfig& config);
bool HasValueShift(const ModelConfig& config);
// The channel of v (or k) that channel `c` of the query heads belongs to.
int64_t KeyValueChannel(const ModelConfig& config, int64_t c);

// Folds scales into a layer's parameters; products are formed in double and rounded once.
// REQUIRES: positive scales, only those that the config has.
void FoldScales(const ModelConfig& config,
                const LayerScales& scales,
                LayerParameters<float>* layer);

// Derivatives by the logarithms of scales, laid out like LayerScales; those of shifts are empty.
// Given the gradient by a layer's folded parameters: every parameter is a power of scales times
// something, so that it is a signed sum of gradient times parameter.
struct ScaleGradient {
  std::vector<double> attention_input, mlp_input, value, query_key;
};
ScaleGradient LogScaleGradient(const ModelConfig& config,
                               const LayerParameters<float>& folded,
                               const LayerParameters<float>& gradient);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_LAYER_SCALES_H_
