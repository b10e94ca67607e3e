#ifndef BITBUDGET_RUNTIME_QUANTIZE_GRID_DESCENT_H_
#define BITBUDGET_RUNTIME_QUANTIZE_GRID_DESCENT_H_

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/kernels/panels.h"
#include "runtime/quantize/integer_grid.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// Lowers the output error d H d^T of one row's rounding errors d, one group after the other: with
// the other groups fixed it is d_g H_gg d_g^T + 2 d_g c_g + constant (c_g = the others' d H), exact
// and cheap. For every group it tries wider and narrower grids, neighbouring zero points, and the
// least-squares scale for its codes, and keeps the best. It sees what gradients through rounding
// cannot: that some scales round a row better than others nearby.
class GridDescent {
 public:
  // For rows of weights in a dense integer format whose inputs have the Gram matrix `gram`
  // [size][size], which outlives it.
  GridDescent(std::span<const float> gram, int64_t size, const Format& format);

  // One thread's memory.
  struct Workspace {
    std::vector<float> errors;   // d, [size]
    std::vector<float> product;  // d H, [size]
    std::vector<IntegerGrid> candidates;
    std::vector<float> candidate_errors;
    std::vector<float> candidate_products;
    PackedActivations packed;
  };

  // Improves `grids` of one row of weights in up to `sweeps` rounds over its groups, of which the
  // first looks furthest; stops when a round finds nothing. Returns the row's error, which never
  // rises.
  double Improve(std::span<const float> weights,
                 int sweeps,
                 std::span<IntegerGrid> grids,
                 Workspace* workspace) const;

 private:
  void ListCandidates(std::span<const float> weights,
                      int64_t group,
                      double reach,
                      const IntegerGrid& grid,
                      Workspace* workspace) const;

  std::span<const float> gram_;
  int64_t size_;
  Format format_;
  int64_t group_;
  std::vector<WeightPanels> panels_;  // H_gg
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_GRID_DESCENT_H_
