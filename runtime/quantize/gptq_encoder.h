#ifndef BITBUDGET_RUNTIME_QUANTIZE_GPTQ_ENCODER_H_
#define BITBUDGET_RUNTIME_QUANTIZE_GPTQ_ENCODER_H_

#include <memory>

#include "runtime/quantize/encoder.h"

namespace bitbudget {

// GPTQ (arXiv 2210.17323): the error of every weight is made up for by the weights of its row that
// are encoded after it, as far as the inputs of calibration text are correlated. It minimises
// tr(dW H dW^T), H the damped Gram matrix of the inputs. Rows are encoded by feedback in the order
// of their inputs, with the grid of every group chosen when the group is reached, and in the order
// of falling energy with the grids of "imatrix"; the best of these, of "clip" and of "imatrix" is
// then refined: least-squares scales for fixed codes and the best code for everything else fixed,
// in turn. So no row has a larger error than with "clip" or "imatrix". docs/encoders.md has the
// formulas and what it costs. Integer and block formats; needs a Gram matrix.
std::unique_ptr<Encoder> MakeGptqEncoder();

// The best encoder that there is, whatever it costs: GPTQ that has the grids that "lwc" learned
// among its candidates, for dense integer formats; for others GPTQ.
std::unique_ptr<Encoder> MakeAutoEncoder();

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_GPTQ_ENCODER_H_
