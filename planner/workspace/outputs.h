#ifndef BITBUDGET_PLANNER_WORKSPACE_OUTPUTS_H_
#define BITBUDGET_PLANNER_WORKSPACE_OUTPUTS_H_

#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"

namespace bitbudget {

// Where a command writes.
struct OutputPath {
  enum class Kind : uint8_t {
    kFile,       // one file, replaced as a whole
    kNewFolder,  // a folder that the command creates
    kStore,      // a folder that files are added to
  };
  std::string option;  // as messages name it, e.g. "--out"
  std::string path;
  Kind kind = Kind::kFile;
};

// Refuses outputs that would replace anything the command reads, or one another. Files are compared
// by device and inode, so `x/../`, symbolic links and hard links are seen through; a folder is
// refused when it is one that the command reads, a new one also when it holds something that the
// command reads. `reads`: files, model folders (of which the files that make up a model count) and
// GGUF files (with all files of a split); empty and missing ones are left out. Call it before any
// work. kInvalidArgument, naming both paths.
absl::Status CheckOutputs(std::span<const OutputPath> writes, std::span<const std::string> reads);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_WORKSPACE_OUTPUTS_H_
