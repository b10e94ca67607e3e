#include "runtime/model/architecture/text_ends.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "runtime/base/json.h"
#include "runtime/base/read_file.h"
#include "runtime/base/status_macros.h"
#include "runtime/model/architecture/config_fields.h"

namespace bitbudget {

void DecideFirstToken(const Tokenizer* tokenizer, ModelConfig* config) {
  if (tokenizer == nullptr) return;
  // Configurations name a token that texts do not begin with (Qwen 2), or another one.
  const TokenizerData& data = tokenizer->data();
  config->bos_token_id.reset();
  if (data.add_bos.value_or(false) && data.bos_id >= 0) config->bos_token_id = data.bos_id;
}

absl::Status DecideEndTokens(const std::string& folder,
                             const Tokenizer* tokenizer,
                             ModelConfig* config) {
  const std::string path = folder + "/generation_config.json";
  std::vector<int32_t> ends;
  std::error_code error;
  // A dangling link counts as a file: it is reported, not skipped.
  if (std::filesystem::exists(std::filesystem::symlink_status(path, error))) {
    BB_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kMaxConfigBytes));
    BB_ASSIGN_OR_RETURN(const nlohmann::json root, ParseJson(text, path));
    if (!root.is_object()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": ", ValueText(root), " is not a JSON object"));
    }
    BB_RETURN_IF_ERROR(
        ConfigFields(root, path, "").ReadTokenIds("eos_token_id", config->vocab_size, &ends));
  }
  const bool named = !config->eos_is_default && !config->eos_token_ids.empty();
  if (ends.empty() && !named && tokenizer != nullptr && tokenizer->data().eos_id >= 0) {
    ends.push_back(tokenizer->data().eos_id);
  }
  if (!ends.empty()) config->eos_token_ids = std::move(ends);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<int32_t>> EncodeText(const Tokenizer& tokenizer,
                                                const ModelConfig& config,
                                                absl::string_view text) {
  BB_ASSIGN_OR_RETURN(std::vector<int32_t> tokens, tokenizer.Encode(text));
  if (config.bos_token_id.has_value() &&
      (tokens.empty() || tokens.front() != *config.bos_token_id)) {
    tokens.insert(tokens.begin(), *config.bos_token_id);
  }
  return tokens;
}

}  // namespace bitbudget
