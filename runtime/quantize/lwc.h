#ifndef BITBUDGET_RUNTIME_QUANTIZE_LWC_H_
#define BITBUDGET_RUNTIME_QUANTIZE_LWC_H_

#include <memory>

#include "runtime/quantize/encoder.h"

namespace bitbudget {

struct LwcOptions {
  // Of the line search minimiser, for every batch of rows.
  int iterations = 40;
  // Over the groups of a row, after it (grid_descent.h).
  int sweeps = 4;
  // Choose codes by error feedback on the learned grids, else the nearest ones.
  bool feedback = true;
};

// Learnable weight clipping (OmniQuant, arXiv 2308.13137, section 3.2) on the output error of one
// matrix: for every row, clipping logits of its groups (clipping.h) that minimise d H d^T, d the
// row's errors and H the Gram matrix of its inputs with 1 % of its mean diagonal added. L-BFGS
// (Ceres) from the best of rtn, clip and imatrix, row by row, then group by group. The codes are
// chosen by error feedback on the grids learned, and refined as GPTQ's are (docs/lwc.md). A row
// keeps what of all that was seen has the smallest error as it is stored, so it is never worse than
// those three. For dense integer formats; others are encoded as by "imatrix". Needs the Gram
// matrix.
std::unique_ptr<Encoder> MakeLwcEncoder(const LwcOptions& options = {});

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_LWC_H_
