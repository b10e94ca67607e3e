#ifndef BITBUDGET_RUNTIME_MODEL_ROPE_H_
#define BITBUDGET_RUNTIME_MODEL_ROPE_H_

#include <cstdint>
#include <vector>

#include "runtime/model/config.h"

namespace bitbudget {

// Angular frequencies [head_dim / 2] of the rotary embedding, after the checkpoint's rope_scaling
// ("default": theta^(-2i/d); "linear": divided by factor; "llama3": low frequencies divided by
// factor, high ones kept, in between blended by wavelength against original_max_position).
std::vector<double> RopeFrequencies(const ModelConfig& config);

// Cosines and sines for positions [0, positions), [position][head_dim / 2]; angles are formed in
// double and rounded once.
struct RopeTable {
  RopeTable(const ModelConfig& config, int64_t positions);

  const float* Cos(int64_t position) const { return cos.data() + position * half; }
  const float* Sin(int64_t position) const { return sin.data() + position * half; }

  int64_t half;
  std::vector<float> cos;
  std::vector<float> sin;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_ROPE_H_
