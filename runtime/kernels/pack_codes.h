#ifndef BITBUDGET_RUNTIME_KERNELS_PACK_CODES_H_
#define BITBUDGET_RUNTIME_KERNELS_PACK_CODES_H_

#include <cstdint>

#include "runtime/kernels/panels.h"

namespace bitbudget {

// The part of PackActivations for kInt8 with an InputRounding: x[m][k] (row stride ldx) to the
// codes, scales and sums of `out`, whose packing and sizes stand. The same on every tier. REQUIRES:
// out->k is a multiple of the rounding's run, which is one of the packing's groups.
void PackCodes(const float* x, int64_t ldx, PackedActivations* out);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_PACK_CODES_H_
