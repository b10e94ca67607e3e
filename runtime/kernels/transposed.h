#ifndef BITBUDGET_RUNTIME_KERNELS_TRANSPOSED_H_
#define BITBUDGET_RUNTIME_KERNELS_TRANSPOSED_H_

#include <cstdint>

#include "runtime/kernels/panels.h"

namespace bitbudget {

// The f32 packings of matrices that are stored the other way round, for the products of reverse
// mode: d_x = d_y W and d_W = d_y^T x sum over the rows of what they multiply. Same results as
// packing a transposed copy, without the copy.

// Activations x^T [m][k], from x[k][m] (row stride ldx).
void PackActivationsTransposed(
    const float* x, int64_t ldx, int64_t m, int64_t k, PackedActivations* out);

// Weights W^T [n, k] as kF32 panels, from w[k][n] (row stride ldw).
WeightPanels PackWeightsTransposed(const float* w, int64_t ldw, int64_t n, int64_t k);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_TRANSPOSED_H_
