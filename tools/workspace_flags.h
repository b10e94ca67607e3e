#ifndef BITBUDGET_TOOLS_WORKSPACE_FLAGS_H_
#define BITBUDGET_TOOLS_WORKSPACE_FLAGS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "planner/workspace/options.h"
#include "plans/plan.pb.h"
#include "runtime/model/decoder/model.h"

namespace bitbudget {

// The model and the flags that say how it is run: WorkspaceOptions on the command line.
struct WorkspaceFlags {
  // What a command takes besides MODEL and --threads.
  struct Groups {
    bool probes = false;       // --text, --prompts, --prefix, --completion, --seed
    bool memory = false;       // --memory, --spill-dir
    bool encoder = false;      // --encoder, --pruning
    bool activations = false;  // --activations
  };
  // Their own defaults are those of WorkspaceOptions.
  std::string model;
  int threads = 0;  // 0: all cores
  std::string text;
  std::string prompts;
  int64_t prefix = ProbeOptions().prefix_tokens;
  int64_t completion = ProbeOptions().completion_tokens;
  uint64_t seed = 0;
  std::string memory;
  std::string spill_directory = "/tmp";
  std::string encoder = "clip";
  std::string pruning = "magnitude";
  std::string activations;  // empty: the plan's, else int16

  void AddTo(CLI::App* command, const Groups& groups);

  // The options; a wrong flag is a usage error that names it. `plan`: what runs, if anything, whose
  // activations are the default, and `plan_path`: the file that it was read from.
  absl::StatusOr<WorkspaceOptions> Options(const std::optional<plans::Plan>& plan = std::nullopt,
                                           const std::string& plan_path = "") const;
  absl::StatusOr<std::unique_ptr<Model>> LoadModel() const;
  int Threads() const;

  // The model and the files of probes, for CheckOut().
  std::vector<std::string> Reads() const { return {model, text, prompts}; }
};

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_WORKSPACE_FLAGS_H_
