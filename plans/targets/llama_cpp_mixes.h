#ifndef BITBUDGET_PLANS_TARGETS_LLAMA_CPP_MIXES_H_
#define BITBUDGET_PLANS_TARGETS_LLAMA_CPP_MIXES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "plans/targets/target.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// The mixes of K-types that llama.cpp's quantizer makes without rules, by increasing size:
// "q2_k", ..., "q6_k".
std::vector<std::string> LlamaCppMixes();

// The formats that a mix gives the components of a model, with substitutes where rows are not whole
// blocks (docs/llama-cpp.md, "Mixes"). kInvalidArgument: an unknown mix, or rows that no substitute
// fits, naming the component.
absl::StatusOr<std::vector<Format>> LlamaCppMix(absl::string_view name, const TargetModel& model);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANS_TARGETS_LLAMA_CPP_MIXES_H_
