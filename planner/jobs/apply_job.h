#ifndef BITBUDGET_PLANNER_JOBS_APPLY_JOB_H_
#define BITBUDGET_PLANNER_JOBS_APPLY_JOB_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "runtime/tensor/format.h"

namespace bitbudget {

struct ApplyOptions {
  std::string out;          // "*.gguf": a file; else a folder
  bool compressed = false;  // a folder of compressed-tensors weights, else dequantized ones
  std::optional<Format> float_type;  // of dequantized weights; none: the checkpoint's
  std::string calibration;  // the text that the plan's encoder learned from, where it needs it
  int threads = 1;
};

struct ApplySummary {
  int64_t file_bytes = 0;    // of the GGUF file, or of all files of the folder
  int64_t weight_bytes = 0;  // as the plan counts them
  double bits_per_weight = 0;
};

// Writes the model that the plan describes, with the codes that the plan's evidence was measured
// with. Errors: a plan of another model; formats that the output cannot hold, naming the component;
// those of GgufOutput and WriteModelFolder.
absl::StatusOr<ApplySummary> ApplyPlan(const Model& model,
                                       const plans::Plan& plan,
                                       const ApplyOptions& options,
                                       Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_JOBS_APPLY_JOB_H_
