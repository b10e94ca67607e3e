#ifndef BITBUDGET_RUNTIME_TRAINING_RANDOM_SIGNS_H_
#define BITBUDGET_RUNTIME_TRAINING_RANDOM_SIGNS_H_

#include <cstdint>

#include "runtime/model/decoder/model.h"
#include "runtime/training/recovery.h"

namespace bitbudget {

// Draws the signs of all one-bit matrices of layers; their g and h stay. What a start from the
// signs of the weights (OneBit, arXiv 2402.11295, section 3.3) is worth shows beside it.
void DrawSigns(const Model& model, uint64_t seed, ComponentEncodings* encodings);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TRAINING_RANDOM_SIGNS_H_
