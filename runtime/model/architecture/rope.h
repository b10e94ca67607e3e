#ifndef BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_ROPE_H_
#define BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_ROPE_H_

#include <cstdint>
#include <vector>

#include "runtime/model/architecture/config.h"

namespace bitbudget {

// Angular frequencies [rotary_dim / 2] of a rotary embedding: theta^(-2i/rotary_dim), scaled by
// RopeType; kLlama3 blends by wavelength relative to original_max_position.
std::vector<double> RopeFrequencies(double theta, const RopeScaling& scaling, int64_t rotary_dim);

// Cosines and sines, times the attention factor, for positions [0, positions),
// [position][rotary_dim / 2]; angles are formed in double and values rounded once.
struct RopeTable {
  RopeTable() = default;
  RopeTable(double theta, const RopeScaling& scaling, int64_t rotary_dim, int64_t positions);

  const float* Cos(int64_t position) const { return cos.data() + position * half; }
  const float* Sin(int64_t position) const { return sin.data() + position * half; }

  int64_t half = 0;
  std::vector<float> cos;
  std::vector<float> sin;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_ROPE_H_
