#ifndef BITBUDGET_RUNTIME_QUANTIZE_CLIP_ENCODER_H_
#define BITBUDGET_RUNTIME_QUANTIZE_CLIP_ENCODER_H_

#include <memory>

#include "runtime/quantize/encoder.h"

namespace bitbudget {

// "clip", the error-minimising clip: among a fixed set of clipped ranges that starts at that of
// "rtn", each with the least-squares scale for its codes, the one with the smallest squared weight
// error. Symmetric formats use all 2^bits codes, with a negative scale where the longer side is the
// positive one. Never worse than "rtn" on any group. Blocks: block_search.h.
std::unique_ptr<Encoder> MakeClipEncoder();

// "imatrix", the same search for the smallest output error: squared weight errors count times the
// second moment of their input, which is a row's mean output error where inputs are uncorrelated.
// A group whose moments are all 0 is encoded as by "clip".
std::unique_ptr<Encoder> MakeImatrixEncoder();

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_CLIP_ENCODER_H_
