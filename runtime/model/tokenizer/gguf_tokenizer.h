#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_GGUF_TOKENIZER_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_GGUF_TOKENIZER_H_

#include <cstdint>
#include <optional>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/model/checkpoint/gguf.h"
#include "runtime/model/checkpoint/gguf_writer.h"
#include "runtime/model/tokenizer/tokenizer_data.h"

namespace bitbudget {

// Reads the tokenizer.ggml.* metadata of models "llama" and "gpt2". Empty when the file has
// no tokenizer. Errors (kInvalidArgument, or kUnimplemented for other models and unknown
// pre-tokenizers) name the file, the key and the value.
absl::StatusOr<std::optional<TokenizerData>> TokenizerDataFromGguf(const GgufFile& file);

// Adds tokenizer.ggml.* so that llama.cpp gives texts the same ids and completions the same `ends`.
// Unused tokens fill the list up to `vocab_size` (the rows of the embedding). kUnimplemented: GGUF
// cannot express the tokenizer, e.g. its pre-tokenizer has no name there. REQUIRES:
// data.tokens.size() <= vocab_size.
absl::Status AddTokenizer(const TokenizerData& data,
                          int64_t vocab_size,
                          std::span<const int32_t> ends,
                          GgufWriter* writer);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_GGUF_TOKENIZER_H_
