#ifndef BITBUDGET_PLANNER_WORKSPACE_OPTIONS_H_
#define BITBUDGET_PLANNER_WORKSPACE_OPTIONS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "planner/workspace/memory_plan.h"
#include "runtime/eval/probes.h"
#include "runtime/model/decoder/weights.h"
#include "runtime/quantize/pruning.h"

namespace bitbudget {

// How a model is run, whatever a job does with it. Every job's options hold one of these.
struct WorkspaceOptions {
  std::string encoder = "clip";
  Pruning pruning = Pruning::kMagnitude;  // of sparse formats
  Activations activations = Activations::kInt16;
  int threads = 1;
  int64_t memory_bytes = DefaultMemoryLimit();
  // Where encodings go when memory has no room for them.
  std::string spill_directory = "/tmp";
  ProbeOptions probes;
  // The folder of the plan that runs, if any, where the file of its recovered weights lies. Empty:
  // the current folder.
  std::string plan_folder;

  // kInvalidArgument, naming the option and its value.
  absl::Status Validate() const;
};

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_WORKSPACE_OPTIONS_H_
