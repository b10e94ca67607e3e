#ifndef BITBUDGET_PLANNER_OUTPUT_PACKED_TENSORS_H_
#define BITBUDGET_PLANNER_OUTPUT_PACKED_TENSORS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/output/folder_weights.h"
#include "planner/output/safetensors_output.h"

namespace bitbudget {

// Encodes matrices and keeps the encodings of the last one: its codes, scales and zero points are
// tensors that are written one after the other.
class MatrixEncoder {
 public:
  // The source outlives the encoder.
  explicit MatrixEncoder(const FolderWeights& source) : source_(source) {}

  const FolderWeights& source() const { return source_; }

  // One encoding per component, valid until another matrix is asked for.
  absl::StatusOr<const std::vector<Encoding>*> Encode(const StoredMatrix& matrix);

 private:
  const FolderWeights& source_;
  std::vector<ComponentId> components_;
  std::vector<Encoding> encodings_;
};

// The tensors of a module in compressed-tensors' format pack-quantized: codes packed into 32-bit
// words, f16 scales, the shape, and zero points where the format has them. kInvalidArgument, naming
// the component, where components of the module have different formats or it is an embedding.
// `encoder` outlives the tensors. REQUIRES: integer formats.
absl::StatusOr<std::vector<OutputTensor>> PackedTensors(const std::string& module,
                                                        const StoredMatrix& matrix,
                                                        MatrixEncoder* encoder);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_OUTPUT_PACKED_TENSORS_H_
