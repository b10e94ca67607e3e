#ifndef BITBUDGET_TOOLS_EXISTING_OUTPUT_H_
#define BITBUDGET_TOOLS_EXISTING_OUTPUT_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "plans/plan.pb.h"

namespace bitbudget {

// What a command writes to a file. A file of the same content there is a result of an earlier call
// and is replaced; whatever else stands there is somebody's, and stays unless --force is given.
enum class Content : uint8_t {
  kPlan,   // that this version reads
  kGguf,   // that `apply` wrote: its metadata says so
  kArray,  // NumPy's .npy
  kPage,   // of `explore`
  kCurve,  // of `explore --json`
};

// Adds --force.
void AddForceOption(CLI::App* command, bool* force);

// kInvalidArgument, naming option and file, where one stands in the way. Call it before any work.
absl::Status CheckExisting(const char* option,
                           const std::string& path,
                           Content content,
                           bool force);

// The same for a file of an export: it replaces what a target reads as a configuration of the
// plan's model, and drivers that bitbudget wrote.
absl::Status CheckExistingExport(const std::string& path, const plans::Plan& plan, bool force);

// The same for a plan, and whether its name is a plan's: what ends in .gguf or .safetensors is a
// model to every other program.
absl::Status CheckPlanOut(const std::string& path, bool force);

}  // namespace bitbudget

#endif  // BITBUDGET_TOOLS_EXISTING_OUTPUT_H_
