#ifndef BITBUDGET_RUNTIME_BASE_UTF8_H_
#define BITBUDGET_RUNTIME_BASE_UTF8_H_

#include <cstddef>
#include <string>

#include "absl/strings/string_view.h"

namespace bitbudget {

// SentencePiece's visible space, U+2581.
inline constexpr absl::string_view kBlockSpace = "\xe2\x96\x81";

// Bytes of the character that begins with this byte, as its upper bits announce it: 1 to 4, and 1
// for bytes that begin none.
size_t Utf8Length(char first);

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
