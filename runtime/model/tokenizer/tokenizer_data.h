#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_TOKENIZER_DATA_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_TOKENIZER_DATA_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace bitbudget {

// How text becomes tokens once it is normalized and split (docs/tokenizers.md).
enum class TokenizerKind {
  // SentencePiece, "unigram": the segmentation of the highest total score. Only with
  // TokenizerData::sentencepiece.
  kUnigram,
  // SentencePiece, "bpe": neighbours whose joined text is a token of the highest score are merged
  // first, left before right. Characters without a token fall back to byte tokens.
  kScoreBpe,
  // GPT-2: bytes are merged by rank; tokens are spelled in GPT-2's printable byte characters.
  kByteLevelBpe,
  // Characters are merged by rank; those without a token become byte tokens "<0x00>".."<0xFF>".
  kByteFallbackBpe,
};

// The numbers are those of GGUF's tokenizer.ggml.token_type.
enum class TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // never made from text, unless special tokens are asked for
  kUserDefined = 4,  // found in the text before anything else
  kUnused = 5,
  kByte = 6,
};

struct VocabularyToken {
  // As files spell it: U+2581 for a space (SentencePiece) or byte characters (byte-level), but
  // plain text for control and user-defined tokens.
  std::string text;
  float score = 0;  // kUnigram and kScoreBpe
  TokenType type = TokenType::kNormal;
  // How control and user-defined tokens are found in a text.
  bool left_strip = false;   // takes the whitespace before it along
  bool right_strip = false;  // takes the whitespace after it along
  bool normalized = false;   // searched for after the normalizer, else before it
  // With TokenizerData::sentencepiece: added beside the SentencePiece model, not part of it.
  bool added = false;
};

// What a match of an expression does to the text around it (Hugging Face's names).
enum class SplitBehavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext };

// One step of a pre-tokenizer: every piece is cut at the matches of a PCRE2 expression.
struct SplitStep {
  std::string expression;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool operator==(const SplitStep&) const = default;
};

// Where a space is put before text. A part is what control and user-defined tokens leave of it.
enum class SpacePrefix {
  kNone,
  kEveryPart,          // before every part
  kPartsWithoutSpace,  // before every part that does not begin with one
  kStartWithoutSpace,  // before a part at the start of the text that does not begin with one
};

// The data of a tokenizer, independent of its file: MakeTokenizer() (tokenizer.h) builds one from
// it, AddTokenizer() (gguf_tokenizer.h) writes it into a GGUF file.
struct TokenizerData {
  TokenizerKind kind = TokenizerKind::kByteLevelBpe;
  std::string source;  // the file, for messages
  std::vector<VocabularyToken> tokens;

  // kByteLevelBpe, kByteFallbackBpe: pairs of tokens, the first to be merged first.
  std::vector<std::pair<int32_t, int32_t>> merges;
  // A piece that is a token becomes that token, whatever the merges would make of it.
  bool ignore_merges = false;

  // Normalizer.
  bool nfc = false;  // to Unicode's form C
  SpacePrefix space_prefix = SpacePrefix::kNone;
  bool escape_spaces = false;             // a space becomes U+2581
  bool remove_extra_whitespaces = false;  // honoured by SentencePiece's own library alone

  // Pre-tokenizer. `pre_name` is GGUF's tokenizer.ggml.pre ("llama-bpe"); empty when these steps
  // have none.
  std::string pre_name;
  std::vector<SplitStep> pre_steps;

  // -1: none. Where texts begin with a token, bos_id is that one, whatever files call it.
  int32_t bos_id = -1;
  int32_t eos_id = -1;
  int32_t unknown_id = -1;
  int32_t padding_id = -1;
  // Whether bos_id stands ahead of a text and eos_id behind it; Encode() adds nothing. Empty only
  // in what a tokenizer.json that does not say it was parsed into.
  std::optional<bool> add_bos;
  std::optional<bool> add_eos;
  std::string chat_template;  // Jinja; empty: none

  // The tokenizer.model that this was read from: SentencePiece's own library then does the work
  // for all tokens that are not `added`, its normalizer included.
  std::string sentencepiece;
};

// Reads the tokenizer of a Hugging Face folder: tokenizer.json when it holds byte-level BPE, else
// tokenizer.model, else tokenizer.json; with the facts of added_tokens.json, tokenizer_config.json,
// special_tokens_map.json and chat_template.jinja. Empty when the folder has no tokenizer. Errors
// (kInvalidArgument; kUnimplemented for valid but unsupported tokenizers) name file, field and
// value.
absl::StatusOr<std::optional<TokenizerData>> ReadTokenizerData(const std::string& folder);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_TOKENIZER_DATA_H_
