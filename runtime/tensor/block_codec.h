#ifndef BITBUDGET_RUNTIME_TENSOR_BLOCK_CODEC_H_
#define BITBUDGET_RUNTIME_TENSOR_BLOCK_CODEC_H_

#include <array>
#include <cstdint>
#include <span>

#include "runtime/tensor/block_format.h"

namespace bitbudget {

// The fields of one block, unpacked. Input i of group g = i / group is the weight
//   level(codes[i]) * (d * scales[g]) - dmin * minimums[g]
// in float, where each product is exact and only the difference rounds.
struct BlockFields {
  // An f16 (of codebook types over the lattice's denominator); mxfp4: a power of two from 2^-128 to
  // 2^127.
  float d = 0.0f;
  // An f16; 0 in types without minimums. q4_1, q5_1 and affine blocks add their m: -m, times 1.
  float dmin = 0.0f;
  std::array<int16_t, kMaxBlockGroups> scales;  // 1 in types of one scale
  std::array<int16_t, kMaxBlockGroups>
      minimums;  // 1 in q4_1, q5_1 and affine, else 0 without minimums
  std::array<uint8_t, kMaxBlock> codes;
};

// Unpacks a block; defined for all bytes.
void UnpackBlock(const BlockTraits& traits, const uint8_t* bytes, BlockFields* fields);

// The inverse. REQUIRES: fields as UnpackBlock gives them (d and dmin f16, integers in range).
void PackBlock(const BlockTraits& traits, const BlockFields& fields, uint8_t* bytes);

// The weights of a block: the reference decoder. f32[block].
void DecodeBlock(const BlockTraits& traits, const uint8_t* bytes, float* out);

// Decodes a row of blocks. REQUIRES: out.size() is a multiple of the block.
void DecodeBlocks(const BlockTraits& traits, const uint8_t* bytes, std::span<float> out);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_BLOCK_CODEC_H_
