#ifndef BITBUDGET_PLANNER_OUTPUT_MLX_TENSORS_H_
#define BITBUDGET_PLANNER_OUTPUT_MLX_TENSORS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/output/matrix_encoder.h"
#include "planner/output/safetensors_output.h"

namespace bitbudget {

// The tensors of a quantized module of MLX (mx.quantize, mlx/ops.cpp, 846d1762): `weight`, u32
// [rows, cols * bits / 32], the codes of a row as one stream of bits, the lowest first; `scales`
// and `biases`, f16 [rows, groups], whose weight is scale * code + bias. mxfp4 has scales alone, u8
// exponents. MLX takes f16 scales beside activations of any type, and f16 is what the codes were
// chosen for. kInvalidArgument, naming the component, where components of the module have different
// formats. `encoder` outlives the tensors. REQUIRES: affine formats or mxfp4.
absl::StatusOr<std::vector<OutputTensor>> MlxTensors(const std::string& module,
                                                     const StoredMatrix& matrix,
                                                     MatrixEncoder* encoder);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_OUTPUT_MLX_TENSORS_H_
