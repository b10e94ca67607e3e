#ifndef BITBUDGET_RUNTIME_BASE_UTF8_H_
#define BITBUDGET_RUNTIME_BASE_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace bitbudget {

// SentencePiece's visible space, U+2581.
inline constexpr absl::string_view kBlockSpace = "\xe2\x96\x81";

// Bytes of the character that begins with this byte, as its upper bits announce it: 1 to 4, and 1
// for bytes that begin none.
size_t Utf8Length(char first);

// The character at the start of well-formed, not empty UTF-8, and its bytes.
struct Character {
  uint32_t code;
  size_t size;
};
inline Character CharacterAt(const char* text) {
  const auto byte = [text](int i) { return static_cast<unsigned char>(text[i]); };
  const auto rest = [&](int i) { return static_cast<uint32_t>(byte(i) & 0x3f); };
  if (byte(0) < 0x80) return {byte(0), 1};
  if (byte(0) < 0xe0) return {(byte(0) & 0x1fu) << 6 | rest(1), 2};
  if (byte(0) < 0xf0) return {(byte(0) & 0x0fu) << 12 | rest(1) << 6 | rest(2), 3};
  return {(byte(0) & 0x07u) << 18 | rest(1) << 12 | rest(2) << 6 | rest(3), 4};
}

// The text with U+FFFD for every byte that is not part of well-formed UTF-8 (Unicode 15, table
// 3-7).
std::string ReplaceInvalidUtf8(absl::string_view text);

// Bytes of whitespace (Unicode's White_Space) at the start and at the end of well-formed UTF-8.
size_t LeadingWhitespace(absl::string_view text);
size_t TrailingWhitespace(absl::string_view text);

// Unicode's normalization form C of well-formed UTF-8.
std::string ToNfc(absl::string_view text);

}  // namespace bitbudget

#endif  // BITBUDGET_RUNTIME_BASE_UTF8_H_
