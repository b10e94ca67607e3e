#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_GGUF_ENDS_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_GGUF_ENDS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/model/checkpoint/gguf.h"
#include "runtime/model/checkpoint/gguf_writer.h"

namespace bitbudget {

// The tokens that end a completion, in a GGUF file: tokenizer.ggml.eos_token_id, eot_token_id and
// eom_token_id, at each of which llama.cpp stops; beyond three bitbudget.end_token_ids has the
// rest.

// `first` is written as eos_token_id where it is one of `ends`.
void AddEndTokens(std::span<const int32_t> ends, int32_t first, GgufWriter* writer);

// Each once. Ids from `vocab_size` on are left out: some writers mean "none" by them. Errors
// (kInvalidArgument) name file, key and value.
absl::StatusOr<std::vector<int32_t>> EndTokens(const GgufFile& file, int64_t vocab_size);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_GGUF_ENDS_H_
