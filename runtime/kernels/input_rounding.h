#ifndef BITBUDGET_RUNTIME_KERNELS_INPUT_ROUNDING_H_
#define BITBUDGET_RUNTIME_KERNELS_INPUT_ROUNDING_H_

#include <cstdint>

#include "runtime/tensor/format.h"

namespace bitbudget {

// How a product rounds its inputs x first where it computes as llama.cpp's on a CPU does (ggml's
// vec_dot_type of the weights' type). All roundings are to nearest, ties to even.
//   kF16, kBF16: every input to that type.
//   kQ8_0: runs of 32 inputs; with a = max |x| the codes are round(x * (127 / a)) and their scale
//          a / 127 rounded to f16, which the codes do not know.
//   kQ8_1: the same, and the sum of a run's inputs, which minimums are multiplied by, is the sum of
//          its codes times the scale that was not rounded, rounded to f16.
//   kQ8_K: runs of 256 inputs; with v the first of the largest magnitude the codes are
//          round(x * (-127 / v)) and their scale 1 / (-127 / v), a float.
// Codes are integers in [-127, 127]. A run that is too small for 127 / a to be a float is zeros. A
// row with an input that is not finite has scales NaN, and so outputs NaN.
enum class InputRounding : uint8_t { kNone, kF16, kBF16, kQ8_0, kQ8_1, kQ8_K };

// That of llama.cpp for weights in this format; kNone for f32 weights and for formats that GGUF
// does not have.
InputRounding LlamaCppRounding(const Format& format);

// Inputs that share a scale; 0 for roundings without scales.
int RunOf(InputRounding rounding);

// Rounds x[k] to codes[k], with a scale and, for kQ8_1 only, a sum for every run. REQUIRES: a
// rounding with scales, k a multiple of its run.
void RoundToCodes(
    InputRounding rounding, const float* x, int64_t k, int8_t* codes, float* scales, float* sums);

// Rounds the rows x[m][k] in place: to f16 or bf16, or to their codes times their scales. kNone
// leaves them as they are. REQUIRES: k a multiple of the rounding's run, if it has any.
void RoundToFloats(InputRounding rounding, int64_t m, int64_t k, float* x);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_KERNELS_INPUT_ROUNDING_H_
