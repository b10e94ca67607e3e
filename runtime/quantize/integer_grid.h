#ifndef BITBUDGET_RUNTIME_QUANTIZE_INTEGER_GRID_H_
#define BITBUDGET_RUNTIME_QUANTIZE_INTEGER_GRID_H_

#include <cstdint>
#include <span>

#include "runtime/tensor/format.h"

namespace bitbudget {

// The values that the weights of one group can take: weight ~ scale * (code - zero), with code and
// zero in [0, 2^bits).
struct IntegerGrid {
  float scale = 0.0f;
  int zero = 0;
};

// The zero point of a symmetric format.
inline int SymmetricZero(const Format& format) { return 1 << (format.bits - 1); }

// Rounds to the nearest integer, ties to even, by pushing the fraction out of the mantissa. Exact
// for |x| <= 2^22 in the default rounding mode; plain additions, which every compiler vectorises.
inline float RoundEven(float x) {
  constexpr float kShift = 0x1.8p23f;
  return (x + kShift) - kShift;
}

// `value` as the f16 that will be stored (0 below half the smallest f16, infinite from 65520).
float RoundToHalf(float value);

// The grid that spans the range of a group of finite weights, its scale rounded to f16. Symmetric:
// the largest magnitude maps to 2^(bits-1) - 1 steps. Zero point: [min(0, min), max(0, max)] maps
// to [0, 2^bits - 1] and the zero point is the code nearest to weight 0. The scale is 0 when the
// range is too small for f16 and infinite when it is too large.
IntegerGrid RangeGrid(std::span<const float> weights, const Format& format);

// The nearest code of every weight (ties to the even distance from the zero point; weights outside
// the grid get its end). A grid of scale 0 gives the zero point. REQUIRES: a finite scale,
// codes.size() == weights.size().
void RoundToGrid(std::span<const float> weights,
                 const IntegerGrid& grid,
                 const Format& format,
                 std::span<uint8_t> codes);

// sum importance (weight - scale * (code - zero))^2, in double; empty importance: all 1.
double SquaredError(std::span<const float> weights,
                    std::span<const float> importance,
                    const IntegerGrid& grid,
                    std::span<const uint8_t> codes);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_INTEGER_GRID_H_
