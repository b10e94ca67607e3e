#ifndef BITBUDGET_PLANNER_OUTPUT_SIDE_FILES_H_
#define BITBUDGET_PLANNER_OUTPUT_SIDE_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "planner/output/folder_output.h"

namespace bitbudget {

// Copies what a model's folder holds for programs that load the model beside its weights and
// config.json (tokenizers, settings, license, model card), by a list of names; what links lead to,
// where it is a regular file, with ordinary permissions. Anything else stays behind.
absl::Status CopySideFiles(const std::string& from, const std::string& to);

// Writes config.json into `folder`: the text of `config_path`, with the quantization and the float
// type of `options`.
absl::Status WriteConfig(const std::string& config_path,
                         const FolderOutputOptions& options,
                         const std::string& folder);

}  // namespace bitbudget

#endif  // BITBUDGET_PLANNER_OUTPUT_SIDE_FILES_H_
