#ifndef BITBUDGET_RUNTIME_QUANTIZE_GPTQ_ENCODER_H_
#define BITBUDGET_RUNTIME_QUANTIZE_GPTQ_ENCODER_H_

#include <memory>

#include "runtime/quantize/encoder.h"

namespace bitbudget {

// GPTQ (arXiv 2210.17323): the weights of a row that are encoded later make up for the error of
// every weight, as far as the inputs of calibration text are correlated. Minimises tr(dW H dW^T),
// H the damped Gram matrix of the inputs, which is GPTQ's Hessian up to a factor (input_stats.h).
// Rows are encoded by feedback in the order of their inputs, choosing the grid of a group when it
// is reached, and in the order of falling energy on the grids of "imatrix". The best of these,
// "clip" and "imatrix" is then refined: least-squares scales for the codes and the best code for
// everything else fixed, in turn. So no row has a larger error than with "clip" or "imatrix".
// docs/encoders.md has the formulas and the cost. Integer and block formats.
std::unique_ptr<Encoder> MakeGptqEncoder();

// GPTQ by the name "gptq-guided", for Gram matrices whose tokens are weighted by gradients.
std::unique_ptr<Encoder> MakeGuidedGptqEncoder();

// GPTQ with the grids that "lwc" learned among its candidates, in dense integer formats; in others
// the same as GPTQ.
std::unique_ptr<Encoder> MakeAutoEncoder();

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_GPTQ_ENCODER_H_
