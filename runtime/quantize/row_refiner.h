#ifndef BITBUDGET_RUNTIME_QUANTIZE_ROW_REFINER_H_
#define BITBUDGET_RUNTIME_QUANTIZE_ROW_REFINER_H_

#include <cstdint>
#include <vector>

#include "runtime/kernels/panels.h"
#include "runtime/quantize/coded_rows.h"
#include "runtime/quantize/gptq_rows.h"
#include "runtime/quantize/gram_factors.h"

namespace bitbudget {

// Lowers the output error d H d^T of encoded rows, d = weights - values, by moving codes and
// scales.
class RowRefiner {
 public:
  // Both outlive it.
  RowRefiner(const GramFactors& factors, const FormatLevels& levels);

  // Never raises a row's error, up to the rounding of sums in float.
  void Refine(RowBatch* batch) const;

 private:
  // Rows with what is kept up to date while they change.
  struct State {
    RowBatch* batch;
    std::vector<float> errors;     // d, [rows][k]
    std::vector<float> gradients;  // H d, [rows][k]
  };

  // Moves every level to the best with all others fixed, input by input, until none moves or
  // kSweeps rounds are over.
  void MoveLevels(State* state) const;
  // One round over the inputs [begin, end) of one row, whose `gradients` are H d; false if nothing
  // moved.
  bool MoveLevels(int64_t begin, int64_t end, float* gradients, CodedRow* coded) const;
  // The same for codebook types, unit by unit.
  bool MoveUnits(int64_t begin, int64_t end, float* gradients, CodedRow* coded) const;
  // Fits all scales (and minimums of blocks) of a row to its levels by least squares at once, and
  // keeps them where they lower the error after rounding to f16.
  void FitScales(State* state) const;
  void ComputeErrors(State* state) const;
  // H d of all rows. REQUIRES: errors are up to date.
  void ComputeGradients(State* state) const;

  const DampedGram& gram_;
  const WeightPanels& panels_;
  const FormatLevels& levels_;
  int64_t group_;
  int64_t unit_;  // inputs of a group or block
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_ROW_REFINER_H_
