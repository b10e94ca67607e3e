#ifndef BITBUDGET_RUNTIME_QUANTIZE_CLIPPING_H_
#define BITBUDGET_RUNTIME_QUANTIZE_CLIPPING_H_

#include <cstdint>
#include <span>

#include "runtime/quantize/integer_grid.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// The errors of rounding a group to a grid: decoded - weights.
void RoundingErrors(std::span<const float> weights,
                    const IntegerGrid& grid,
                    const Format& format,
                    std::span<float> errors);

// Learnable clipping of one group of weights (OmniQuant, arXiv 2308.13137, section 3.2): the grid
// of an integer format spans a learned part of the group's range.
//
//   zero point:  high = c sigmoid(high_logit) max(0, max w),  low = c sigmoid(low_logit) min(0, min
//   w)
//                h = (high - low) / (2^bits - 1),  z = round(-low / h)
//   symmetric:   h = +-c sigmoid(high_logit) max |w| / (2^(bits-1) - 1),  z = 2^(bits-1)
//   both:        code = clamp(round(w / h) + z, 0, 2^bits - 1),  decoded = h (code - z)
//
// h is rounded to the stored f16, so the decoded values are those of an encoding. Unlike in the
// paper the largest ratio c is a little above 1: the best grid of a group may be wider than the
// group, so the search of the "clip" encoder starts beyond 1, too. A symmetric grid may have a
// negative step, which gives the outermost code to the positive weights; its sign is not learned.
class GroupClipping {
 public:
  static constexpr double kLargestRatio = 1.25;

  // The range of these weights.
  GroupClipping(std::span<const float> weights, const Format& format);

  struct Logits {
    double high = 0;
    double low = 0;   // zero point only
    double sign = 1;  // of a symmetric step; not learned
  };

  // The logits whose grid is `grid`, or comes nearest.
  Logits LogitsOf(const IntegerGrid& grid) const;

  // The result of the forward pass. `learns` is false where the step is too small or too large for
  // f16: then no gradient reaches the logits.
  struct Grid {
    IntegerGrid grid;
    bool learns = false;
  };
  Grid GridOf(const Logits& logits) const;

  // The gradient of a loss by the logits, given that by the decoded weights. Rounding of w / h
  // passes gradients straight through, rounding of z passes none:
  //   d_h = sum_j d_decoded_j (inside_j ? round(w_j / h) - w_j / h : code_j - z)
  // Unless `d_weights` is empty, sets it to the gradient by the weights themselves: d_decoded_j
  // where w_j is inside, plus what reaches the group's extremes through h.
  Logits Backward(std::span<const float> weights,
                  const Logits& logits,
                  const Grid& grid,
                  std::span<const float> d_decoded,
                  std::span<float> d_weights) const;

 private:
  double StepOf(const Logits& logits) const;

  Format format_;
  double max_code_;
  double high_ = 0;     // max(0, max w), or max |w| of symmetric formats
  double low_ = 0;      // min(0, min w)
  size_t highest_ = 0;  // where they are
  size_t lowest_ = 0;
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_CLIPPING_H_
