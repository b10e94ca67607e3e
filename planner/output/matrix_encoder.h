#ifndef BITBUDGET_PLANNER_OUTPUT_MATRIX_ENCODER_H_
#define BITBUDGET_PLANNER_OUTPUT_MATRIX_ENCODER_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "planner/output/folder_weights.h"

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

// kInvalidArgument, naming two components, where those of a matrix have different formats. `target`
// is whose plans have none of these.
absl::Status CheckOneFormat(const StoredMatrix& matrix,
                            const FolderWeights& source,
                            absl::string_view target);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_OUTPUT_MATRIX_ENCODER_H_
