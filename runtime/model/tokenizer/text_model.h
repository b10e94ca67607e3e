#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_TEXT_MODEL_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_TEXT_MODEL_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "runtime/model/tokenizer/tokenizer_data.h"

namespace bitbudget {

// The part of a tokenizer between its normalizer and its ids. Immutable, safe to use from many
// threads.
class TextModel {
 public:
  virtual ~TextModel() = default;
  // Appends the ids of pieces of normalized text.
  virtual absl::Status Encode(std::span<const absl::string_view> pieces,
                              std::vector<int32_t>* ids) const = 0;
  // The text of a run of normal, byte and unused tokens.
  virtual std::string Decode(std::span<const int32_t> ids) const = 0;
};

// Models that merge neighbours. `data` must outlive them. Errors: kInvalidArgument that names the
// token or merge, but not the file.
absl::StatusOr<std::unique_ptr<TextModel>> MakeByteLevelBpe(const TokenizerData& data);
absl::StatusOr<std::unique_ptr<TextModel>> MakeByteFallbackBpe(const TokenizerData& data);
absl::StatusOr<std::unique_ptr<TextModel>> MakeScoreBpe(const TokenizerData& data);
// SentencePiece's library running data.sentencepiece.
absl::StatusOr<std::unique_ptr<TextModel>> MakeSentencePiece(const TokenizerData& data);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_TEXT_MODEL_H_
