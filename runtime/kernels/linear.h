#ifndef BITBUDGET_RUNTIME_KERNELS_LINEAR_H_
#define BITBUDGET_RUNTIME_KERNELS_LINEAR_H_

#include <cstdint>

#include "runtime/kernels/panels.h"

namespace bitbudget {

// Packs activations x[m][k] (row stride ldx) for every product that asks for `packing`; `out` is a
// reused workspace.
void PackActivations(ActivationPacking packing,
                     const float* x,
                     int64_t ldx,
                     int64_t m,
                     int64_t k,
                     PackedActivations* out);

// y[m][n] (row stride ldy) = x W^T. REQUIRES: x.packing == w.packing(), on the f32 path with any
// rounding, and x.k == w.k. Columns beyond n are not written. Bitwise the same for any m, any split
// of the rows into calls and any `threads` (panels are spread over threads, k never is). With
// w.layer_norm every row of y is then (y - mean) / sqrt(variance + 1e-5) over its n outputs.
void Linear(
    const PackedActivations& x, const WeightPanels& w, float* y, int64_t ldy, int threads = 1);

// Rounds every row of x[m][k] to int16 with its scale and back, as the kInt16 path does, in place.
void RoundActivationsInt16(float* x, int64_t ldx, int64_t m, int64_t k);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_LINEAR_H_
