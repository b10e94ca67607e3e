#include "planner/output/matrix_encoder.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {

absl::StatusOr<const std::vector<Encoding>*> MatrixEncoder::Encode(const StoredMatrix& matrix) {
  if (matrix.components == components_) return &encodings_;
  components_.clear();
  encodings_.clear();
  for (const ComponentId id : matrix.components) {
    BB_ASSIGN_OR_RETURN(Encoding encoding,
                        source_.encoder.Encode(id, source_.assignment[id], source_.threads));
    encodings_.push_back(std::move(encoding));
  }
  components_ = matrix.components;
  return &encodings_;
}

absl::Status CheckOneFormat(const StoredMatrix& matrix,
                            const FolderWeights& source,
                            absl::string_view target) {
  const ComponentId first = matrix.components.front();
  const Format& format = source.assignment[first];
  for (const ComponentId id : matrix.components) {
    if (source.assignment[id] == format) continue;
    return absl::InvalidArgumentError(absl::StrCat(source.model.component(id).name,
                                                   " has format ",
                                                   source.assignment[id].Name(),
                                                   ", but ",
                                                   source.model.component(first).name,
                                                   " of the same module has ",
                                                   format.Name(),
                                                   "; make the plan for target ",
                                                   target));
  }
  return absl::OkStatus();
}

}  // namespace bitbudget
