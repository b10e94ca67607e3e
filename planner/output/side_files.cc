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
#include "runtime/base/read_file.h"
#include "runtime/base/status_macros.h"

namespace bitbudget {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr char kConfigFile[] = "config.json";

constexpr const char* kSideFiles[] = {"added_tokens.json",
                                      "chat_template.jinja",
                                      "chat_template.json",
                                      "generation_config.json",
                                      "merges.txt",
                                      "preprocessor_config.json",
                                      "processor_config.json",
                                      "special_tokens_map.json",
                                      "tekken.json",
                                      "tokenizer.json",
                                      "tokenizer.model",
                                      "tokenizer_config.json",
                                      "vocab.json",
                                      "vocab.txt",
                                      "LICENSE",
                                      "LICENSE.md",
                                      "LICENSE.txt",
                                      "NOTICE",
                                      "NOTICE.txt",
                                      "README.md",
                                      "USE_POLICY.md"};

}  // namespace

absl::Status CopySideFiles(const std::string& from, const std::string& to) {
  for (const char* name : kSideFiles) {
    const fs::path source = fs::path(from) / name;
    std::error_code error;
    if (!fs::is_regular_file(source, error)) continue;
    BB_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(source.string()));
    const absl::string_view contents(reinterpret_cast<const char*>(file.bytes().data()),
                                     file.bytes().size());
    BB_RETURN_IF_ERROR(WriteFileAtomically(to + "/" + name, contents));
  }
  return absl::OkStatus();
}

absl::Status WriteConfig(const std::string& config_path,
                         const FolderOutputOptions& options,
                         const std::string& folder) {
  BB_ASSIGN_OR_RETURN(const std::string text, ReadFile(config_path, kMaxConfigBytes));
  BB_ASSIGN_OR_RETURN(ordered_json config,
                      ParseOrderedJson(text, config_path, DuplicateKeys::kRefuse));
  if (!options.config_entries.empty()) {
    BB_ASSIGN_OR_RETURN(
        const ordered_json entries,
        ParseOrderedJson(
            options.config_entries, "the quantization config", DuplicateKeys::kRefuse));
    config.update(entries);
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
