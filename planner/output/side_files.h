#ifndef BITBUDGET_PLANNER_OUTPUT_SIDE_FILES_H_
#define BITBUDGET_PLANNER_OUTPUT_SIDE_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "planner/output/folder_output.h"

namespace bitbudget {

// Copies every regular file of a model's folder but weights and config.json.
absl::Status CopySideFiles(const std::string& from, const std::string& to);

// Writes config.json into `folder`: the text of `config_path`, with the quantization and the float
// type of `options`.
absl::Status WriteConfig(const std::string& config_path,
                         const FolderOutputOptions& options,
                         const std::string& folder);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_OUTPUT_SIDE_FILES_H_
