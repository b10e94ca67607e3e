#ifndef BITBUDGET_PLANNER_JOBS_APPLY_JOB_H_
#define BITBUDGET_PLANNER_JOBS_APPLY_JOB_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "planner/output/folder_output.h"
#include "planner/workspace/options.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

// In the metadata of every GGUF file that ApplyPlan() writes: "bitbudget" and its version.
inline constexpr char kGgufToolKey[] = "quantize.plan.tool";

struct ApplyOptions {
  std::string out;  // "*.gguf": a file; else a folder
  // What a folder holds: weights of a float type, or the plan's codes.
  FolderOutputOptions::Weights weights = FolderOutputOptions::Weights::kDequantized;
  std::optional<Format> float_type;  // of dequantized weights; none: the checkpoint's
  std::string calibration;           // the text that the plan's encoder learned from, if any
  WorkspaceOptions workspace;        // the plan's encoder and pruning replace those given here
};

struct ApplySummary {
  int64_t file_bytes = 0;    // of the GGUF file, or of all files of the folder
  int64_t weight_bytes = 0;  // as the plan counts them
  double bits_per_weight = 0;
};

// Writes the model that the plan describes, with the codes that the plan was measured with. Errors:
// a plan of another model; a format that the output cannot hold, naming the component; those of
// GgufOutput and WriteModelFolder.
absl::StatusOr<ApplySummary> ApplyPlan(const Model& model,
                                       const plans::Plan& plan,
                                       const ApplyOptions& options,
                                       Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_APPLY_JOB_H_
