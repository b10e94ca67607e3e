#ifndef BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_TEXT_ENDS_H_
#define BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_TEXT_ENDS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/model/architecture/config.h"
#include "runtime/model/tokenizer/tokenizer.h"

namespace bitbudget {

// Decides which token a text begins with: what the tokenizer says, without one (null) what the
// configuration names.
void DecideFirstToken(const Tokenizer* tokenizer, ModelConfig* config);

// Decides which tokens end a completion of a folder's model: of generation_config.json, config.json
// and the tokenizer (null: none) the first that names any, else the family's default. Errors name
// file, field and value.
absl::Status DecideEndTokens(const std::string& folder,
                             const Tokenizer* tokenizer,
                             ModelConfig* config);

// The tokens of a whole text: what it begins with, once, also where it spells that out. `config` is
// a checkpoint's.
absl::StatusOr<std::vector<int32_t>> EncodeText(const Tokenizer& tokenizer,
                                                const ModelConfig& config,
                                                absl::string_view text);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_ARCHITECTURE_TEXT_ENDS_H_
