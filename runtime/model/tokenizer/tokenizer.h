#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_TOKENIZER_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/model/tokenizer/tokenizer_data.h"

namespace bitbudget {

struct EncodeOptions {
  // The spelling of a control token in the text ("<|im_start|>") becomes that token. Otherwise it
  // is text like any other, so that a text cannot end a prompt. User-defined tokens are always
  // found.
  bool parse_special = false;
};

// Text to token ids and back. Immutable, safe to use from many threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // The data that it was built from.
  virtual const TokenizerData& data() const = 0;
  int64_t vocab_size() const { return static_cast<int64_t>(data().tokens.size()); }
  // Ids of the text alone: no beginning- or end-of-sequence token is added.
  absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const {
    return Encode(text, EncodeOptions());
  }
  virtual absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text,
                                                      const EncodeOptions& options) const = 0;
  // Control tokens and ids without a token (negative, or rows of the model beyond vocab_size())
  // give no text.
  virtual std::string Decode(std::span<const int32_t> tokens) const = 0;
  // Control, unknown and unused tokens, and ids without a token: never drawn as the first token of
  // a sampled probe.
  bool IsSpecial(int32_t token) const;
};

// kInvalidArgument for contradictory data: one line that names data.source and the token, merge or
// expression.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeTokenizer(TokenizerData data);

// Opens the tokenizer of a model folder or a GGUF file. Null when it has none: such a model serves
// where no text is needed. Errors: those of ReadTokenizerData, TokenizerDataFromGguf and
// MakeTokenizer.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_TOKENIZER_H_
