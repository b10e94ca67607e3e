#ifndef BITBUDGET_PLANNER_OUTPUT_DECODED_TENSORS_H_
#define BITBUDGET_PLANNER_OUTPUT_DECODED_TENSORS_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "planner/output/folder_weights.h"
#include "planner/output/safetensors_output.h"
#include "runtime/tensor/format.h"
#include "runtime/tensor/tensor_view.h"

// Tensors whose values any program can read.
namespace bitbudget {

// The decoded values of a matrix in the float format `type`. Producing it fails with
// kInvalidArgument where f16 is too narrow for a value.
OutputTensor DecodedTensor(const std::string& name,
                           const StoredMatrix& matrix,
                           const Format& type,
                           const FolderWeights& source);

// `values`, which outlive the tensor, in the float format `type`. Errors as above.
OutputTensor ValuesTensor(const std::string& name,
                          std::vector<int64_t> shape,
                          std::span<const float> values,
                          const Format& type);

// A tensor of the checkpoint, byte for byte where `type` is its own, else rounded. Errors as above.
OutputTensor StoredTensor(const std::string& name,
                          std::vector<int64_t> shape,
                          const TensorView& view,
                          const Format& type);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_OUTPUT_DECODED_TENSORS_H_
