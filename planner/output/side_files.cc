#include "planner/output/side_files.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "nlohmann/json.hpp"
#include "planner/output/safetensors_output.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/json.h"
#include "runtime/base/json_text.h"
#include "runtime/base/mapped_file.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr char kConfigFile[] = "config.json";

}  // namespace

absl::Status CopySideFiles(const std::string& from, const std::string& to) {
  std::error_code error;
  for (fs::directory_iterator entry(from, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (IsWeightFile(name) || name == kConfigFile || !entry->is_regular_file(error)) continue;
    fs::copy_file(entry->path(), to + "/" + name, error);
    if (error) break;
  }
  if (!error) return absl::OkStatus();
  return absl::InternalError(absl::StrCat(from, ": cannot copy to ", to, ": ", error.message()));
}

absl::Status WriteConfig(const std::string& config_path,
                         const FolderOutputOptions& options,
                         const std::string& folder) {
  BB_ASSIGN_OR_RETURN(const std::string text, ReadFile(config_path));
  BB_ASSIGN_OR_RETURN(ordered_json config,
                      ParseOrderedJson(text, config_path, DuplicateKeys::kRefuse));
  if (options.weights == FolderOutputOptions::Weights::kCompressedTensors) {
    BB_ASSIGN_OR_RETURN(
        ordered_json scheme,
        ParseOrderedJson(
            options.quantization_config, "the quantization config", DuplicateKeys::kRefuse));
    if (scheme.contains("quantization_config")) {
      scheme = ordered_json(scheme["quantization_config"]);
    }
    config["quantization_config"] = std::move(scheme);
  }
  if (options.float_type.has_value()) {
    const char* name = *options.float_type == kFormatF32   ? "float32"
                       : *options.float_type == kFormatF16 ? "float16"
                                                           : "bfloat16";
    config[config.contains("dtype") ? "dtype" : "torch_dtype"] = name;
  }
  return WriteFileAtomically(absl::StrCat(folder, "/", kConfigFile), DumpJson(config, 2) + "\n");
}

}  // namespace bitbudget
