#ifndef BITBUDGET_RUNTIME_TENSOR_LATTICE_BLOCKS_H_
#define BITBUDGET_RUNTIME_TENSOR_LATTICE_BLOCKS_H_

#include <cstdint>

#include "runtime/tensor/block_codec.h"

namespace bitbudget {

// UnpackBlock and PackBlock of types with a lattice.
void UnpackLatticeBlock(const BlockTraits& traits, const uint8_t* bytes, BlockFields* fields);
void PackLatticeBlock(const BlockTraits& traits, const BlockFields& fields, uint8_t* bytes);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_TENSOR_LATTICE_BLOCKS_H_
