#ifndef BITBUDGET_PLANNER_OUTPUT_PACKED_TENSORS_H_
#define BITBUDGET_PLANNER_OUTPUT_PACKED_TENSORS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/output/matrix_encoder.h"
#include "planner/output/safetensors_output.h"

namespace bitbudget {

// The tensors of a module in compressed-tensors' format pack-quantized: codes packed into 32-bit
// words, f16 scales, the shape, and zero points where the format has them. kInvalidArgument, naming
// the component, where components of the module have different formats or it is an embedding.
// `encoder` outlives the tensors. REQUIRES: integer formats.
absl::StatusOr<std::vector<OutputTensor>> PackedTensors(const std::string& module,
                                                        const StoredMatrix& matrix,
                                                        MatrixEncoder* encoder);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_OUTPUT_PACKED_TENSORS_H_
