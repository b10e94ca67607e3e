#ifndef BITBUDGET_PLANNER_OUTPUT_RECOVERED_FILE_H_
#define BITBUDGET_PLANNER_OUTPUT_RECOVERED_FILE_H_

#include <string>

#include "absl/status/statusor.h"
#include "planner/workspace/recovered_encoder.h"
#include "plans/plan.pb.h"
#include "runtime/base/progress.h"
#include "runtime/model/decoder/model.h"
#include "runtime/training/recovery.h"

// The file beside a recovered plan: in the safetensors format, for every component that does not
// keep its stored weights a U8 tensor of its encoding's bytes under the component's name, and in
// the metadata its format; for every norm or bias that is not the model's an F32 tensor under the
// checkpoint's name. docs/recovery.md describes it for other programs.
namespace bitbudget {

// Where the file of a plan goes that is written to `plan_path`: beside it.
std::string RecoveredFileFor(const std::string& plan_path);

// Where the file of a plan lies that was read from `folder` (empty: the current one). Empty for a
// plan that was not recovered.
std::string RecoveredFileOf(const plans::Plan& plan, const std::string& folder);

// Writes the file, whole or not at all, and returns its SHA-256. Errors: those of the file;
// kCancelled on interruption.
absl::StatusOr<std::string> WriteRecoveredFile(const Model& model,
                                               const ComponentEncodings& encodings,
                                               const VectorsByLayer& vectors,
                                               const std::string& path,
                                               Progress* progress);

// Maps the file of a recovered plan and checks it: the plan's SHA-256, one tensor for every
// component that has an encoder, in the plan's format and size and with its hash, encodings that
// can be decoded (CheckEncoding), and beside them only norms and biases of the model, of finite
// values. Errors are one line that names the file and the tensor. REQUIRES: a plan of the model,
// with has_recovery().
absl::StatusOr<RecoveredWeights> ReadRecoveredFile(const plans::Plan& plan,
                                                   const Model& model,
                                                   const std::string& folder,
                                                   int threads);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_OUTPUT_RECOVERED_FILE_H_
