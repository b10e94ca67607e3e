#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_SPECIAL_TOKENS_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_SPECIAL_TOKENS_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace bitbudget {

// Finds tokens that a text spells out: the leftmost first, the longest where several begin.
class SpecialTokens {
 public:
  struct Token {
    int32_t id;
    bool always;  // else only with parse_special
    bool left_strip;
    bool right_strip;
  };
  // A token (id >= 0) or the text between two.
  struct Part {
    int32_t id;
    absl::string_view text;
  };

  // REQUIRES: text is not empty. Of equal texts the first wins.
  void Add(absl::string_view text, const Token& token);

  // The parts in order; their texts are never empty. REQUIRES: well-formed UTF-8 where a token
  // strips whitespace.
  std::vector<Part> Split(absl::string_view text, bool parse_special) const;

 private:
  // The token at the start of `text`, and its size in bytes; null when there is none.
  const Token* Longest(absl::string_view text, bool parse_special, size_t* size) const;

  absl::flat_hash_map<std::string, Token> tokens_;
  std::array<std::vector<size_t>, 256> sizes_;  // by first byte, descending
};

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_SPECIAL_TOKENS_H_
