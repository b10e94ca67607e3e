#ifndef BITBUDGET_RUNTIME_KERNELS_TOKEN_ROUNDING_H_
#define BITBUDGET_RUNTIME_KERNELS_TOKEN_ROUNDING_H_

#include <cstdint>

namespace bitbudget {

// Dynamic per-token quantization of x[rows][width] (row stride ldx) to `bits` bits and back, in
// place. With [low, high] the range of a row and 0, h = (high - low) / (2^bits - 1) and
// z = round(-low / h), a value becomes h * (clamp(round(x / h) + z, 0, 2^bits - 1) - z), ties to
// even: asymmetric, as OmniQuant (arXiv 2308.13137) quantizes activations. Rows with a value that
// is not finite stay as they are. REQUIRES: 2 <= bits <= 8.
void RoundPerToken(float* x, int64_t ldx, int64_t rows, int64_t width, int bits);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_TOKEN_ROUNDING_H_
