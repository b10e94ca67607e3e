#ifndef BITBUDGET_RUNTIME_QUANTIZE_GRAM_FACTORS_H_
#define BITBUDGET_RUNTIME_QUANTIZE_GRAM_FACTORS_H_

#include <cstdint>
#include <memory>

#include "runtime/kernels/panels.h"
#include "runtime/quantize/feedback.h"
#include "runtime/quantize/input_stats.h"

namespace bitbudget {

// What encoders derive from a Gram matrix, whatever the weights and the format are: two
// factorisations, which take about as long as encoding as many rows as there are inputs, so that
// matrices and formats share them where they can.
struct GramFactors {
  // REQUIRES: finite values (CheckGram).
  explicit GramFactors(const Gram& gram);

  // Memory of one for so many inputs while it is made, in bytes.
  static int64_t PeakBytes(int64_t inputs);

  std::unique_ptr<Feedback> natural;  // in the order of inputs
  DampedGram damped;
  WeightPanels panels;                  // of `damped`, f32
  std::unique_ptr<Feedback> by_energy;  // in the order of falling energy; null: has no factor
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_GRAM_FACTORS_H_
