#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_SENTENCEPIECE_MODEL_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_SENTENCEPIECE_MODEL_H_

#include <string>

#include "absl/status/statusor.h"
#include "runtime/model/tokenizer/tokenizer_data.h"

namespace bitbudget {

// Reads a SentencePiece model (tokenizer.model). `path` is named in messages. Errors:
// kInvalidArgument for bytes that are not such a model, kUnimplemented for word and character
// models.
absl::StatusOr<TokenizerData> ParseSentencePieceModel(std::string bytes, const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_SENTENCEPIECE_MODEL_H_
