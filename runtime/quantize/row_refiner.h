#ifndef BITBUDGET_RUNTIME_QUANTIZE_ROW_REFINER_H_
#define BITBUDGET_RUNTIME_QUANTIZE_ROW_REFINER_H_

#include <cstdint>
#include <vector>

#include "runtime/kernels/panels.h"
#include "runtime/quantize/coded_rows.h"
#include "runtime/quantize/feedback.h"
#include "runtime/quantize/gptq_rows.h"

namespace bitbudget {

// Lowers the output error d H d^T of encoded rows, d = weights - values, by moving codes and
// scales.
class RowRefiner {
 public:
  // Makes the panels of H for this format. The Gram matrix and the feedback, which is in natural
  // order, outlive it.
  RowRefiner(const DampedGram& gram, const Feedback& feedback, const FormatLevels& levels);

  // Never raises a row's error, up to the rounding of sums in float.
  void Refine(RowBatch* batch) const;

 private:
  // Moves every level to the best with all others fixed, input by input, until none moves or
  // kSweeps rounds are over.
  void MoveLevels(RowBatch* batch) const;
  // One round over the inputs [begin, end) of one row, whose `gradients` are H d; false if nothing
  // moved.
  bool MoveLevels(int64_t begin, int64_t end, float* gradients, CodedRow* coded) const;
  // Fits all scales (and minimums of blocks) of a row to its levels by least squares at once, and
  // keeps them where they lower the error after rounding to f16.
  void FitScales(RowBatch* batch) const;
  // H d of all rows.
  void Gradients(const std::vector<float>& errors, int64_t rows, std::vector<float>* out) const;

  const DampedGram& gram_;
  const Feedback& feedback_;
  const FormatLevels& levels_;
  int64_t group_;
  int64_t unit_;                      // inputs of a group or block
  std::vector<WeightPanels> slices_;  // H[all][inputs of a unit], for every unit
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_ROW_REFINER_H_
