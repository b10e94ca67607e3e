#ifndef BITBUDGET_PLANNER_OUTPUT_SAFETENSORS_OUTPUT_H_
#define BITBUDGET_PLANNER_OUTPUT_SAFETENSORS_OUTPUT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/base/progress.h"

namespace bitbudget {

// A tensor to be written. Its bytes are made when its turn comes.
struct OutputTensor {
  std::string name;
  std::string dtype;  // as safetensors spells it
  std::vector<int64_t> shape;
  int64_t bytes = 0;
  std::function<absl::StatusOr<std::vector<uint8_t>>()> produce;
};

// Writes model.safetensors into `folder`, or several shards and their index: a shard is closed
// before it would hold more than `shard_bytes`. kCancelled on interruption; errors of `produce` and
// of the files.
absl::Status WriteSafetensors(const std::vector<OutputTensor>& tensors,
                              const std::string& folder,
                              int64_t shard_bytes,
                              Progress* progress);

// Writes all tensors into one file, whole or not at all, with `metadata` in its header. Errors
// likewise.
absl::Status WriteSafetensorsFile(const std::vector<OutputTensor>& tensors,
                                  const std::map<std::string, std::string>& metadata,
                                  const std::string& path,
                                  Progress* progress);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_OUTPUT_SAFETENSORS_OUTPUT_H_
