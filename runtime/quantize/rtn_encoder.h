#ifndef BITBUDGET_RUNTIME_QUANTIZE_RTN_ENCODER_H_
#define BITBUDGET_RUNTIME_QUANTIZE_RTN_ENCODER_H_

#include <memory>

#include "runtime/quantize/encoder.h"

namespace bitbudget {

// Round to nearest: the scale spans the group's range (symmetric: absmax maps to 2^(bits-1) - 1;
// zero point: [min(0, min), max(0, max)] maps to [0, 2^bits - 1], so that 0 is representable). A
// group whose scale is below half the smallest f16 (2^-25) becomes zeros. Blocks: block_rtn.h.
std::unique_ptr<Encoder> MakeRtnEncoder();

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_RTN_ENCODER_H_
