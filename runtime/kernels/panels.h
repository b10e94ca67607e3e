#ifndef BITBUDGET_RUNTIME_KERNELS_PANELS_H_
#define BITBUDGET_RUNTIME_KERNELS_PANELS_H_

#include <cstdint>

#include "runtime/base/aligned_buffer.h"
#include "runtime/kernels/layout.h"
#include "runtime/tensor/encoding.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

// kF32: f32 weights, f32 activations, FMA. kInt16: codes widened to int16, activations rounded to
// int16 per row, exact int32 sums.
enum class Path : uint8_t { kF32, kInt16 };

// A weight matrix [n, k] packed for one path. n is padded to whole panels (zero weights), k to
// kInputPad (zero weights).
//   kF32:   f32[panel][k][16]
//   kInt16: i16[panel][k/2][16][2] and scales[panel][flush group][16]; flush groups hold `flush`
//           inputs each (the last one what is left) and carry the scale of the format's group that
//           they lie in.
struct WeightPanels {
  Path path = Path::kF32;
  int64_t n = 0;
  int64_t k = 0;
  int64_t padded_k = 0;
  int64_t panels = 0;
  int flush = 0;  // inputs per flush group, even; 0 for kF32
  int64_t flush_groups = 0;
  AlignedBuffer<float> f32;
  AlignedBuffer<int16_t> i16;
  AlignedBuffer<float> scales;

  int64_t bytes() const { return f32.size() * 4 + i16.size() * 2 + scales.size() * 4; }
};

// Float formats give kF32 panels; integer formats give kInt16 panels.
WeightPanels PackWeights(const Encoding& encoding);

// Any encoding as kF32 panels of its decoded values.
WeightPanels PackWeightsF32(const Encoding& encoding);

// Checkpoint weights as kF32 panels.
WeightPanels PackWeightsF32(const TensorView& weights);

// Activations [m, k] packed into blocks of 6 rows (the last block padded with zero rows).
//   kF32:   f32[block][k][6]
//   kInt16: i16[block][k/2][6][2] and one scale per row: x ~ scale * q, |q| <= 32767.
struct PackedActivations {
  Path path = Path::kF32;
  int64_t m = 0;
  int64_t k = 0;
  int64_t padded_k = 0;
  AlignedBuffer<float> f32;
  AlignedBuffer<int16_t> i16;
  AlignedBuffer<float> scales;  // [6 * blocks], kInt16 only
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_PANELS_H_
