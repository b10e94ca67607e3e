#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace bitbudget {

// Text to token ids and back. Immutable, safe to use from many threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual int64_t vocab_size() const = 0;
  // Ids of the text alone: no beginning- or end-of-sequence token is added.
  virtual absl::StatusOr<std::vector<int32_t>> Encode(absl::string_view text) const = 0;
  // Ids without a piece (negative, or rows of the model beyond vocab_size()) give no text.
  virtual std::string Decode(std::span<const int32_t> tokens) const = 0;
  // Control, unknown and unused tokens, and ids without a piece: never drawn as the first token of
  // a sampled probe.
  virtual bool IsSpecial(int32_t token) const = 0;
};

// Opens the tokenizer of a model folder (tokenizer.model). Null when the folder has none: such a
// model works for everything that needs no text. Errors: an unreadable or damaged file, by its
// name.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& folder);

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenSentencePiece(const std::string& path);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_H_
