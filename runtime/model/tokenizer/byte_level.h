#ifndef BITBUDGET_RUNTIME_MODEL_TOKENIZER_BYTE_LEVEL_H_
#define BITBUDGET_RUNTIME_MODEL_TOKENIZER_BYTE_LEVEL_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace bitbudget {

// The bytes that GPT-2's vocabulary spells as printable characters: a byte that is a visible
// character of Latin-1 is that character, the others are U+0100 and on (bytes_to_unicode of the
// GPT-2 release). Empty when another character is among them.
std::optional<std::string> CharactersToBytes(absl::string_view characters);

// The byte of a byte token's text, "<0x00>" to "<0xFF>"; -1 for other texts.
int ByteOfToken(absl::string_view text);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_MODEL_TOKENIZER_BYTE_LEVEL_H_
