#include "runtime/training/trained_matrix.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "runtime/training/trained_clipping.h"
#include "runtime/training/trained_floats.h"
#include "runtime/training/trained_levels.h"
#include "runtime/training/trained_signs.h"

namespace bitbudget {

float RootMeanSquare(const Matrix<float>& weights) {
  const double count = std::max<double>(1, static_cast<double>(weights.size()));
  return static_cast<float>(std::sqrt(weights.cast<double>().squaredNorm() / count));
}

absl::Status CheckTrainable(const Format& format) {
  if (format.HasLevels() || format.kind == FormatKind::kOneBit ||
      (format.IsFloat() && format.IsSparse())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat("matrices in ", format.Name(), " have nothing to train"));
}

std::unique_ptr<TrainedMatrix> MakeTrainedMatrix(const Matrix<float>& original,
                                                 const Encoding& start,
                                                 TrainedParts parts) {
  const bool dense_integer = start.format.IsInteger() && !start.format.IsSparse();
  if (parts.clipping && dense_integer) return std::make_unique<TrainedClipping>(original, start);
  if (parts.clipping) parts = {.weights = false, .scales = false};
  if (start.format.HasLevels()) return std::make_unique<TrainedLevels>(original, start, parts);
  if (start.format.IsFloat()) return std::make_unique<TrainedFloats>(original, start, parts);
  return std::make_unique<TrainedSigns>(original, start, parts);
}

}  // namespace bitbudget
