#ifndef BITBUDGET_SEARCH_TYPICAL_ERROR_H_
#define BITBUDGET_SEARCH_TYPICAL_ERROR_H_

#include "runtime/tensor/format.h"

namespace bitbudget {

// How many of a thousand weights a format leaves out: 1000 of a removed matrix, 500 of 2:4.
int SparsityPermille(const Format& format);

// The relative squared error ||W' - W||^2 / ||W||^2 that a format makes of normally distributed
// weights, roughly: what is known of a format before anything is measured. It orders formats of
// different kinds (bits, sparsity, one bit, removed), where sizes do not.
//   codes: the error of b bits falls with 4^-b; a block format counts with its nominal bits. The
//     scale is spread over a group whose largest weight is some 2.5 standard deviations.
//   sign and scale: 1 - 2/pi, what |w| varies around its mean.
//   zeros: the energy of the smallest share of |w|; for 2:4 of the smallest two of four.
//   removed: 1.
double TypicalError(const Format& format);

}  // namespace bitbudget

#endif  // BITBUDGET_SEARCH_TYPICAL_ERROR_H_
