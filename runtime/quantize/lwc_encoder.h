#ifndef BITBUDGET_RUNTIME_QUANTIZE_LWC_ENCODER_H_
#define BITBUDGET_RUNTIME_QUANTIZE_LWC_ENCODER_H_

#include <memory>

#include "runtime/quantize/encoder.h"

namespace bitbudget {

// Learnable weight clipping (OmniQuant, arXiv 2308.13137, section 3.2) on the output error of one
// matrix: for every row, clipping logits of its groups (clipping.h) that minimise d H d^T, d the
// row's errors and H the Gram matrix of its inputs with 1 % of its mean diagonal added. L-BFGS
// (Ceres) from the best of "rtn", "clip" and "imatrix", row by row, then group by group. Codes are
// chosen by error feedback on the learned grids and refined as GPTQ's are (docs/lwc.md). A row
// keeps the encoding with the smallest error of all that it saw, so it is never worse than those
// three. For dense integer formats; others are encoded as by "imatrix".
std::unique_ptr<Encoder> MakeLwcEncoder();

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_LWC_ENCODER_H_
