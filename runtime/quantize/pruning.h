#ifndef BITBUDGET_RUNTIME_QUANTIZE_PRUNING_H_
#define BITBUDGET_RUNTIME_QUANTIZE_PRUNING_H_

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/quantize/input_stats.h"
#include "runtime/tensor/tensor_view.h"

namespace bitbudget {

// "magnitude", "wanda" or "fisher".
absl::StatusOr<Pruning> ParsePruning(absl::string_view name);
const char* PruningName(Pruning pruning);

// Which weights of a matrix a sparse format stores: 1 for these, 0 for the others, [rows, cols].
//
// The weights with the smallest scores are left out; of equal scores the first in row-major order
// goes first. The score is |w| (Pruning::kMagnitude), compared within the whole matrix, or |w_ij|
// sqrt(moment_j) (Pruning::kWanda, arXiv 2306.11695, eq. 1, whose input norm is the square root of
// the second moment up to one factor for all), compared within its row: row i then loses
// floor((i + 1) p / rows) - floor(i p / rows) of the p weights that the matrix loses, or w^2 times
// the diagonal Fisher information (Pruning::kFisher), compared within the whole matrix: half of it
// is what the weight's loss costs, to second order (Optimal Brain Damage, LeCun et al. 1989). In
// 2:4 formats scores are compared within runs of four inputs.
//
// kInvalidArgument: weights that are not finite, kWanda without moments and kFisher without Fisher
// information. REQUIRES: a sparse format; moments that are empty or one per column; Fisher
// information that is empty or one value per weight.
absl::StatusOr<std::vector<uint8_t>> ChooseKept(const TensorView& weights,
                                                const Format& format,
                                                const InputStats& stats,
                                                int threads);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_QUANTIZE_PRUNING_H_
