#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_TOKENIZER_JSON_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_TOKENIZER_JSON_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/model/tokenizer/tokenizer_data.h"

namespace bitbudget {

// Reads the text of a tokenizer.json (Hugging Face's tokenizers) that holds BPE over bytes, or over
// characters with byte fallback (docs/tokenizers.md lists the parts that are read). `path` is named
// in messages. Errors: kInvalidArgument for what contradicts itself, kUnimplemented for parts that
// are not supported; one line with the file, the field and the value.
absl::StatusOr<TokenizerData> ParseTokenizerJson(absl::string_view text, const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_TOKENIZER_JSON_H_
